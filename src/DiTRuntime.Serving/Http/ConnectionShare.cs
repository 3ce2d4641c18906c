using System.Collections.Concurrent;
using System.Net;
using Microsoft.AspNetCore.Connections;

namespace DiTRuntime.Serving.Http;

/// <summary>Leaves room for others: one address may hold three quarters of the connections.</summary>
/// <param name="maxConnections">All connections that the server takes.</param>
internal sealed class ConnectionShare(int maxConnections)
{
    private readonly int _most = Math.Max(1, maxConnections / 4 * 3);
    private readonly ConcurrentDictionary<IPAddress, int> _countOfAddress = new();

    /// <summary>Passes a connection on, or closes it where its address has its share already.</summary>
    public ConnectionDelegate Limit(ConnectionDelegate next) => async connection =>
    {
        if ((connection.RemoteEndPoint as IPEndPoint)?.Address is not { } address)
        {
            await next(connection);
            return;
        }

        try
        {
            if (_countOfAddress.AddOrUpdate(address, 1, static (_, count) => count + 1) <= _most) await next(connection);
        }
        finally
        {
            // Only the last one out takes the address away; a new one that comes in between begins at one again.
            if (_countOfAddress.AddOrUpdate(address, 0, static (_, count) => count - 1) == 0) _countOfAddress.TryRemove(KeyValuePair.Create(address, 0));
        }
    };
}

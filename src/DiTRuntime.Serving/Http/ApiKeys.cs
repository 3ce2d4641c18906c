using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace DiTRuntime.Serving.Http;

/// <summary>Asks requests for a key. Keys are held and compared as hashes, all of them each time, so that an answer's time tells nothing.</summary>
internal sealed class ApiKeys
{
    private const string Scheme = "Bearer ";

    private readonly byte[][] _hashes;

    /// <param name="keys">The keys.</param>
    public ApiKeys(IEnumerable<string> keys) => _hashes = [.. keys.Select(Hash)];

    /// <summary>Lets only those through who bring a key, except where an address is open to everybody.</summary>
    public void Guard(IApplicationBuilder app) => app.Use(next => context =>
    {
        var isOpen = context.GetEndpoint()?.Metadata.GetMetadata<IAllowAnonymous>() is not null;
        return isOpen || Accepts(KeyOf(context.Request)) ? next(context)
            : throw new ApiException(401, "invalid_api_key", "a key is needed: Authorization: Bearer KEY, or X-API-Key: KEY");
    });

    /// <summary>Whether it is one of the keys.</summary>
    internal bool Accepts(string? key)
    {
        if (key is null) return false;
        var hash = Hash(key);
        var found = false;
        foreach (var known in _hashes) found |= CryptographicOperations.FixedTimeEquals(hash, known);
        return found;
    }

    private static byte[] Hash(string key) => SHA256.HashData(Encoding.UTF8.GetBytes(key));

    private static string? KeyOf(HttpRequest request)
    {
        var authorization = request.Headers.Authorization.ToString();
        if (authorization.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase)) return authorization[Scheme.Length..].Trim();
        return request.Headers.TryGetValue("X-API-Key", out var key) ? key.ToString() : null;
    }
}

namespace DiTRuntime.Serving;

/// <summary>How the service is reached, and what it lets its clients do.</summary>
public sealed record ServerOptions
{
    /// <summary>The address to listen at: an IP address, or "localhost".</summary>
    public string Host { get; init; } = "127.0.0.1";

    /// <summary>The port; 0 takes a free one.</summary>
    public int Port { get; init; } = 8080;

    /// <summary>Connections at once; one address may hold three quarters of them.</summary>
    public int MaxConnections { get; init; } = 2048;

    /// <summary>How long a job is kept after its end.</summary>
    public TimeSpan JobLifetime { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>Keys of which a request must bring one; none are asked for where there are none.</summary>
    public IReadOnlyList<string> ApiKeys { get; init; } = [];

    /// <summary>How long the headers of a request may take to arrive.</summary>
    public TimeSpan HeaderTimeout { get; init; } = TimeSpan.FromSeconds(10);
}

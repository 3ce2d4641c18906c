namespace DiTRuntime.Bench.Serve;

/// <summary>What was measured: numbers by name, and whether they meet the bar.</summary>
/// <param name="Name">What it is about.</param>
/// <param name="Bar">What was to be reached.</param>
/// <param name="IsMet">Whether it was.</param>
/// <param name="Load">The load, in words.</param>
/// <param name="Numbers">The numbers.</param>
internal sealed record Measurement(string Name, string Bar, bool IsMet, string Load, IReadOnlyDictionary<string, double> Numbers);

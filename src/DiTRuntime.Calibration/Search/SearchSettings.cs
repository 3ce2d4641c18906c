namespace DiTRuntime.Calibration.Search;

/// <summary>How group sizes are searched for; the defaults are those of Q-DiT's published search.</summary>
public sealed record SearchSettings
{
    /// <summary>Candidates of a generation.</summary>
    public int Population { get; init; } = 50;

    /// <summary>The best ones found so far, from which the next generation comes.</summary>
    public int Parents { get; init; } = 10;

    /// <summary>Candidates of a generation that are crossed from two parents; the others are mutations.</summary>
    public int Crossovers { get; init; } = 25;

    /// <summary>Chance of each layer to change in a mutation.</summary>
    public double MutationRate { get; init; } = 0.1;

    /// <summary>Generations.</summary>
    public int Generations { get; init; } = 10;

    /// <summary>Group sizes to choose from; a layer takes those that do not exceed its row.</summary>
    public IReadOnlyList<int> Sizes { get; init; } = [32, 64, 96, 128, 192, 288];

    /// <summary>Smallest mean group size that a candidate may have: the bound on its size and on its work per group.</summary>
    public double MinMeanSize { get; init; } = 128;

    /// <summary>Seed of every choice.</summary>
    public ulong Seed { get; init; }

    /// <summary>Refuses settings that make no sense.</summary>
    /// <exception cref="UsageException">The first of them, named as on the command line.</exception>
    public void Check()
    {
        Demand(Population is >= 2 and <= 10_000, $"--search-population {Population}: expected 2 to 10000");
        Demand(Parents >= 2 && Parents <= Population, $"--search-select {Parents}: expected 2 to {Population}, the population");
        Demand(Crossovers >= 0 && Crossovers <= Population, $"--search-crossover {Crossovers}: expected 0 to {Population}, the population");
        Demand(MutationRate is > 0 and <= 1, $"--search-mutation {MutationRate}: expected more than 0, at most 1");
        Demand(Generations is >= 1 and <= 10_000, $"--search-epochs {Generations}: expected 1 to 10000");
    }

    private static void Demand(bool holds, FormattableString problem)
    {
        if (!holds) throw new UsageException(FormattableString.Invariant(problem));
    }
}

namespace DiTRuntime.Calibration.Search;

/// <summary>How good a choice of group sizes is.</summary>
public interface ISearchFitness
{
    /// <summary>What is measured, and on what: a log made with another one does not go on.</summary>
    string Description { get; }

    /// <summary>Measures a candidate. The same groups give the same value.</summary>
    /// <param name="groups">Group sizes by layer, for every layer searched over.</param>
    /// <returns>Smaller is better.</returns>
    double Measure(IReadOnlyDictionary<string, int> groups);
}

using DiTRuntime.Models;

namespace DiTRuntime.Cli.Generation;

/// <summary>Reads classes as people write them.</summary>
internal static class LabelList
{
    private const int DefaultCount = 10;

    /// <summary>Stands for all classes in order.</summary>
    private const string Every = "all";

    /// <summary>The classes of the published sampling script.</summary>
    private static readonly int[] s_imageNet = [207, 360, 387, 974, 88, 979, 417, 279];

    /// <summary>Understands the values of --class-labels; without any, the published script's classes or the first ten.</summary>
    /// <param name="values">Each an index, a name, a WordNet id, "all", or a list of them separated by commas.</param>
    /// <param name="names">What the model knows of its classes.</param>
    /// <param name="classCount">Number of classes, without the null class.</param>
    /// <exception cref="UsageException">An unknown class; the message says what there is.</exception>
    public static int[] Parse(IReadOnlyList<string> values, ClassLabels names, int classCount)
    {
        if (values.Count == 0) return classCount == 1000 ? s_imageNet : [.. Enumerable.Range(0, Math.Min(DefaultCount, classCount))];
        var labels = new List<int>();
        foreach (var value in values)
        {
            foreach (var word in value.Split(',', StringSplitOptions.TrimEntries))
            {
                if (word == Every) labels.AddRange(Enumerable.Range(0, classCount));
                else labels.Add(names.Parse(word, classCount, "--class-labels"));
            }
        }

        return [.. labels];
    }
}

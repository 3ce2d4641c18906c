namespace DiTRuntime.Models;

/// <summary>The classes of ImageNet-1k (ILSVRC 2012), which the published models were trained on.</summary>
internal static class ImageNetClasses
{
    /// <summary>Number of classes.</summary>
    public const int Count = 1000;

    private static readonly Lazy<(string[] WordNetIds, string[] Names)> s_table = new(Read);
    private static readonly Lazy<ClassLabels> s_labels = new(() => new ClassLabels(Names, WordNetIds));

    /// <summary>The WordNet ids, in label order.</summary>
    public static IReadOnlyList<string> WordNetIds => s_table.Value.WordNetIds;

    /// <summary>The names, in label order: "tench, Tinca tinca".</summary>
    public static IReadOnlyList<string> Names => s_table.Value.Names;

    /// <summary>Ids and names for lookup.</summary>
    public static ClassLabels Labels => s_labels.Value;

    /// <summary>Whether a list of names is this data set in this order. Spellings vary between copies, so nine tenths suffice.</summary>
    public static bool AreNamedBy(IReadOnlyList<string> names) =>
        names.Count == Count && names.Zip(Names, (a, b) => First(a).Equals(First(b), StringComparison.OrdinalIgnoreCase)).Count(same => same) >= Count * 9 / 10;

    private static string First(string names) => names.Split(',')[0].Trim();

    private static (string[] WordNetIds, string[] Names) Read()
    {
        using var stream = typeof(ImageNetClasses).Assembly.GetManifestResourceStream("imagenet-1k.tsv")!;
        using var reader = new StreamReader(stream);
        string[][] rows = [.. reader.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(line => line[0] != '#').Select(line => line.TrimEnd('\r').Split('\t'))];
        return ([.. rows.Select(row => row[0])], [.. rows.Select(row => row[1])]);
    }
}

using System.Text.RegularExpressions;

namespace DiTRuntime.Models;

/// <summary>The published configurations: XL, L, B and S with patches of 2, 4 and 8.</summary>
public static partial class DiTConfigs
{
    private static readonly (string Size, int Depth, int HiddenSize, int HeadCount)[] s_sizes =
        [("XL", 28, 1152, 16), ("L", 24, 1024, 16), ("B", 12, 768, 12), ("S", 12, 384, 6)];

    private static readonly int[] s_patches = [2, 4, 8];

    /// <summary>The names of all twelve: "DiT-XL/2", ...</summary>
    public static IReadOnlyList<string> Names { get; } = [.. s_sizes.SelectMany(size => s_patches.Select(patch => $"DiT-{size.Size}/{patch}"))];

    /// <summary>The configuration of a published name: 4 channels, learned variance, MLP of 4H.</summary>
    /// <param name="name">"DiT-XL/2"; case does not matter, "DiT-" may be absent.</param>
    /// <param name="inputSize">S, side of the latent: 32 for images of 256 pixels, 64 for 512.</param>
    /// <param name="classCount">Number of classes, without the null class.</param>
    /// <exception cref="UsageException">No such name, or the patches do not tile the latent.</exception>
    public static DiTConfig Parse(string name, int inputSize = 32, int classCount = 1000)
    {
        var match = NamePattern().Match(name);
        var row = Array.Find(s_sizes, s => match.Success && s.Size.Equals(match.Groups["size"].Value, StringComparison.OrdinalIgnoreCase));
        if (row.Size is null) throw new UsageException($"unknown model {name}; known: {string.Join(", ", Names)}");
        var patch = match.Groups["patch"].Value[0] - '0';
        if (classCount is < 1 or > 1_000_000) throw new UsageException($"{classCount} classes; 1 to 1,000,000 were expected");
        var config = new DiTConfig
        {
            InputSize = inputSize,
            PatchSize = patch,
            InChannels = 4,
            OutChannels = 8,
            HiddenSize = row.HiddenSize,
            Depth = row.Depth,
            HeadCount = row.HeadCount,
            MlpSize = 4 * row.HiddenSize,
            ClassCount = classCount,
        };
        PositionEmbedding.CheckInputSize(inputSize, patch);
        return config;
    }

    /// <summary>What people call an architecture: "DiT-XL/2", or "DiT 288x6, patch 4" where it has no name.</summary>
    public static string NameOf(DiTConfig config)
    {
        var row = Array.Find(s_sizes, s => s.Depth == config.Depth && s.HiddenSize == config.HiddenSize && s.HeadCount == config.HeadCount);
        return row.Size is not null && config.MlpSize == 4 * config.HiddenSize && s_patches.Contains(config.PatchSize)
            ? $"DiT-{row.Size}/{config.PatchSize}"
            : $"DiT {config.HiddenSize}x{config.Depth}, patch {config.PatchSize}";
    }

    /// <summary>The head count of the published model of this width and depth, or null.</summary>
    public static int? PublishedHeadCount(int hiddenSize, int depth)
    {
        var row = Array.Find(s_sizes, s => s.Depth == depth && s.HiddenSize == hiddenSize);
        return row.Size is null ? null : row.HeadCount;
    }

    [GeneratedRegex("^(DiT-)?(?<size>XL|L|B|S)/(?<patch>[248])$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex NamePattern();
}

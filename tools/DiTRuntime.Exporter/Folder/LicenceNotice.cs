using DiTRuntime.Checkpoints;
using DiTRuntime.Models;

namespace DiTRuntime.Exporter.Folder;

/// <summary>What is known of the licences of what an export holds, for the person who receives it.</summary>
internal static class LicenceNotice
{
    /// <summary>The file's name in the folder.</summary>
    public const string FileName = "NOTICE";

    /// <summary>Keys of a checkpoint's metadata that name a licence.</summary>
    private static readonly string[] s_keys = ["license", "licence", "general.license", "license_name", "modelspec.license"];

    /// <summary>Longest text that is quoted.</summary>
    private const int MostCharacters = 400;

    /// <summary>Classes of the data set that the published models were trained on.</summary>
    private const int PublishedClassCount = 1000;

    /// <summary>The notice.</summary>
    /// <param name="weights">The model.</param>
    /// <param name="name">What people call it.</param>
    /// <param name="decoder">The decoder in a few words; null for models that work on pixels.</param>
    public static string Of(DiTWeights weights, string name, string? decoder)
    {
        var lines = new List<string>
        {
            "Runtime (dit.c, dit.h, main.c, build files): DiTRuntime, Apache License 2.0; see LICENSE.",
            "",
            $"Weights (weights.dit; golden.dit is computed from them): {name}.",
            OfModel(weights),
        };
        if (decoder is not null)
        {
            lines.Add("");
            lines.Add($"Decoder (in weights.dit): {decoder}. Its file states no licence to the exporter. The published sd-vae-ft-mse and sd-vae-ft-ema");
            lines.Add("decoders and the TAESD family are under the MIT licence; of another one, ask where it came from.");
        }

        return string.Join('\n', lines) + "\n";
    }

    private static string OfModel(DiTWeights weights)
    {
        var metadata = weights.Checkpoint.Metadata;
        if (Array.Find(s_keys, metadata.ContainsKey) is { } key) return $"Their file says ({key}): {Quote(metadata[key])}";
        var config = weights.Config;
        if (config is { InChannels: 4, ClassCount: PublishedClassCount } && DiTConfigs.NameOf(config) is var published && DiTConfigs.Names.Contains(published))
        {
            return $"Their file states no licence. They have the shape of the published {published}; the weights that facebookresearch/DiT published are\n"
                + "licensed CC BY-NC 4.0 (https://creativecommons.org/licenses/by-nc/4.0/): give credit, say what was changed, no commercial use. If these\n"
                + "are the published weights or were made from them (quantized, fine-tuned), that licence holds for this folder's weights too.";
        }

        return "Their file states no licence; ask where they came from before passing them on."
            + (metadata.TryGetValue("trained_on", out var data) ? $"\nIt says what they were trained on: {Quote(data)}" : string.Empty);
    }

    /// <summary>Text of a file, on one line and not too long.</summary>
    private static string Quote(string text) => TensorRules.Printable(text, MostCharacters);
}

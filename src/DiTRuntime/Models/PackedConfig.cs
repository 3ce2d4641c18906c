using System.Text.Json;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Models;

/// <summary>Reads the architecture of a packed model from its metadata, where it stands in the arguments of the official <c>DiT(...)</c>.</summary>
internal sealed class PackedConfig
{
    // Far above any DiT; keeps products of dimensions that a hostile file claims inside an int.
    private const int MaxExtent = 1 << 20;
    private const int MaxHiddenSize = 1 << 16;
    private const int MaxChannels = 1 << 10;
    private const int MaxPatchSize = 64;
    private const int MaxMlpRatio = 64;

    private readonly ICheckpoint _checkpoint;
    private readonly JsonElement _root;

    private PackedConfig(ICheckpoint checkpoint, JsonElement root)
    {
        _checkpoint = checkpoint;
        _root = root;
    }

    /// <summary>The architecture at the size the file was made for.</summary>
    /// <exception cref="InvalidFileException">A value is missing or makes no sense.</exception>
    /// <exception cref="UsageException">The user contradicts the file.</exception>
    public static DiTConfig Read(ICheckpoint checkpoint, DiTLoadOptions options)
    {
        PackedModel.Text(checkpoint, PackedModel.ConfigKey);
        DiTConfig? config = null;
        DiTConfigFacts.ReadObject(checkpoint, PackedModel.ConfigKey, root => config = new PackedConfig(checkpoint, root).Read());
        if (options.HeadCount is { } given && given != config!.HeadCount)
            throw new UsageException($"--heads {given} contradicts {checkpoint.Path}, whose {PackedModel.ConfigKey} says {config.HeadCount}; leave it out");
        return config!;
    }

    private DiTConfig Read()
    {
        var hidden = Number("hidden_size", MaxHiddenSize);
        var channels = Number("in_channels", MaxChannels);
        var config = new DiTConfig
        {
            InputSize = Number("input_size", MaxExtent),
            PatchSize = Number("patch_size", MaxPatchSize),
            InChannels = channels,
            OutChannels = LearnsVariance() ? 2 * channels : channels,
            HiddenSize = hidden,
            // Every layer has a tensor: more blocks than tensors cannot be.
            Depth = Number("depth", Math.Max(1, _checkpoint.Tensors.Count)),
            HeadCount = Number("num_heads", hidden),
            MlpSize = MlpSize(hidden),
            ClassCount = Number("num_classes", MaxExtent - 1),
            FrequencySize = _root.TryGetProperty("frequency_embedding_size", out _) ? Number("frequency_embedding_size", MaxHiddenSize) : DiTConfig.PublishedFrequencySize,
        };
        if (hidden % config.HeadCount != 0) throw Wrong($"{config.HeadCount} heads do not divide the width {hidden}");
        if (config.FrequencySize % 2 != 0) throw Wrong($"frequency_embedding_size is {config.FrequencySize}; an even number was expected");
        if (PositionEmbedding.Problem(config.InputSize, config.PatchSize) is { } problem) throw Wrong(problem);
        return config;
    }

    private int MlpSize(int hidden)
    {
        if (!_root.TryGetProperty("mlp_ratio", out var value) || value.ValueKind != JsonValueKind.Number || !value.TryGetDouble(out var ratio) || !(ratio is > 0 and <= MaxMlpRatio))
            throw Wrong($"mlp_ratio: a number above 0, at most {MaxMlpRatio}, was expected");
        var size = Math.Round(ratio * hidden);
        return size >= 1 && Math.Abs(ratio * hidden - size) < 1e-3 ? (int)size : throw Wrong($"mlp_ratio {ratio} of the width {hidden} is no whole number");
    }

    private bool LearnsVariance() => _root.TryGetProperty("learn_sigma", out var value) && value.ValueKind is JsonValueKind.True or JsonValueKind.False
        ? value.GetBoolean()
        : throw Wrong("learn_sigma: true or false was expected");

    private int Number(string name, int most) =>
        _root.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out var number) && number >= 1 && number <= most
            ? number
            : throw Wrong($"{name}: a whole number from 1 to {most} was expected");

    private InvalidFileException Wrong(string problem) => new(_checkpoint.Path, $"{PackedModel.ConfigKey}: {problem}");
}

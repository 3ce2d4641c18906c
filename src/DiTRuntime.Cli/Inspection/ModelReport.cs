using System.Globalization;
using System.Text.Json.Nodes;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;

namespace DiTRuntime.Cli.Inspection;

/// <summary>Tells what a model file holds.</summary>
internal static class ModelReport
{
    /// <summary>Prints configuration, tensors and bytes of a checkpoint; of one that is no DiT, the tensors.</summary>
    /// <exception cref="InvalidFileException">The file is not understood, or it is a DiT in which something is wrong.</exception>
    public static void Print(string path, int? heads, Session session)
    {
        if (IsDiT(path))
        {
            using var weights = ModelSource.Open(path, heads);
            Print(path, weights.Checkpoint, weights, session);
        }
        else
        {
            using var checkpoint = Checkpoint.Open(path);
            Print(path, checkpoint, null, session);
        }
    }

    private static void Print(string path, ICheckpoint checkpoint, DiTWeights? weights, Session session)
    {
        if (session.Json) session.Print(Json(path, checkpoint, weights));
        else PrintText(path, checkpoint, weights, session);
    }

    /// <summary>Whether the file has a DiT's blocks, in either layout.</summary>
    private static bool IsDiT(string path)
    {
        using var checkpoint = Checkpoint.Open(path);
        return ModelParts.Of(checkpoint).Any(part => part.Name == "adaLN");
    }

    private static void PrintText(string path, ICheckpoint checkpoint, DiTWeights? weights, Session session)
    {
        var tensors = checkpoint.Tensors;
        session.Print($"{path}: {checkpoint.Kind}, {tensors.Count} tensors, {Number(Elements(tensors))} elements, {Number(Bytes(tensors))} bytes");
        session.Print($"  hash     {ContentHash.Of(checkpoint)}");
        session.Print($"  elements {string.Join(", ", Types(tensors).Select(t => $"{t.Type}: {t.Count} tensors, {Number(t.Bytes)} bytes"))}");
        if (weights is not null)
        {
            var c = weights.Config;
            session.Print($"  model    {DiTConfigs.NameOf(c)}: hidden {c.HiddenSize}, depth {c.Depth}, heads {c.HeadCount}, MLP {c.MlpSize}");
            session.Print($"  latent   {c.InChannels}x{c.InputSize}x{c.InputSize}, patch {c.PatchSize}, {c.TokenCount} tokens; predicts {c.OutChannels} channels{(c.LearnsVariance ? ", variance learned" : "")}");
            session.Print($"  classes  {c.ClassCount} and the null class {c.NullClass}{(weights.Labels.Count > 0 ? ", named" : "")}");
            if (ModelParts.Layers(weights) is { Count: > 0 } packed) PackingReport.Print(weights, packed, session);
            else PrintParts(checkpoint, session);
            foreach (var remark in weights.Remarks) session.Print($"  note     {remark}");
        }

        if (!session.Verbose) return;
        foreach (var tensor in tensors) session.Print($"  {tensor.Name} {tensor.Type} {tensor.ShapeText}");
    }

    private static void PrintParts(ICheckpoint checkpoint, Session session)
    {
        foreach (var part in ModelParts.Of(checkpoint))
            session.Print($"  {part.Name,-12} {part.TensorCount,4} tensors {Number(part.ElementCount),14} elements {Number(part.ByteCount),14} bytes");
    }

    private static JsonObject Json(string path, ICheckpoint checkpoint, DiTWeights? weights)
    {
        var tensors = checkpoint.Tensors;
        var types = new JsonObject();
        foreach (var (type, count, bytes) in Types(tensors)) types[type.ToString()] = new JsonObject { ["tensors"] = count, ["bytes"] = bytes };
        return new JsonObject
        {
            ["file"] = path,
            ["kind"] = checkpoint.Kind,
            ["hash"] = ContentHash.Of(checkpoint),
            ["name"] = weights is null ? null : DiTConfigs.NameOf(weights.Config),
            ["configuration"] = weights is null ? null : Configuration(weights.Config),
            ["named_classes"] = weights?.Labels.Count,
            ["elements"] = Elements(tensors),
            ["bytes"] = Bytes(tensors),
            ["element_types"] = types,
            ["parts"] = weights is null ? null : new JsonArray([.. ModelParts.Of(checkpoint).Select(part => (JsonNode)new JsonObject
            {
                ["name"] = part.Name,
                ["tensors"] = part.TensorCount,
                ["elements"] = part.ElementCount,
                ["bytes"] = part.ByteCount,
            })]),
            ["packing"] = weights is null ? null : PackingReport.Json(weights),
            ["remarks"] = weights is null ? null : new JsonArray([.. weights.Remarks.Select(remark => (JsonNode)remark)]),
            ["tensors"] = new JsonArray([.. tensors.Select(tensor => (JsonNode)new JsonObject
            {
                ["name"] = tensor.Name,
                ["type"] = tensor.Type.ToString(),
                ["shape"] = new JsonArray([.. tensor.Shape.ToArray().Select(extent => (JsonNode)extent)]),
                ["bytes"] = tensor.ByteCount,
            })]),
        };
    }

    private static JsonObject Configuration(DiTConfig config) => new()
    {
        ["input_size"] = config.InputSize,
        ["patch_size"] = config.PatchSize,
        ["in_channels"] = config.InChannels,
        ["out_channels"] = config.OutChannels,
        ["hidden_size"] = config.HiddenSize,
        ["depth"] = config.Depth,
        ["num_heads"] = config.HeadCount,
        ["mlp_size"] = config.MlpSize,
        ["num_classes"] = config.ClassCount,
        ["null_class"] = config.NullClass,
        ["learn_sigma"] = config.LearnsVariance,
    };

    private static long Elements(IReadOnlyList<CheckpointTensor> tensors) => tensors.Sum(t => (long)t.Count);

    private static long Bytes(IReadOnlyList<CheckpointTensor> tensors) => tensors.Sum(t => t.ByteCount);

    private static (ElementType Type, int Count, long Bytes)[] Types(IReadOnlyList<CheckpointTensor> tensors) =>
        [.. tensors.GroupBy(t => t.Type).OrderBy(g => g.Key).Select(g => (g.Key, g.Count(), g.Sum(t => t.ByteCount)))];

    internal static string Number(long value) => value.ToString("N0", CultureInfo.InvariantCulture);
}

using System.Text.Json;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Models;

/// <summary>Finds the names of a model's classes: the pipeline's <c>id2label</c>, or ImageNet's for the models trained on it.</summary>
internal static class DiTLabels
{
    private const int ImageNetChannels = 4;
    private const int LongestLabel = 1024;

    /// <exception cref="InvalidFileException">The pipeline's index is not what it should be.</exception>
    public static ClassLabels Read(ICheckpoint checkpoint, DiTConfig config)
    {
        var mayBeImageNet = config is { ClassCount: ImageNetClasses.Count, InChannels: ImageNetChannels };
        if (ReadNames(checkpoint, config.ClassCount) is not { } names)
            return mayBeImageNet ? ImageNetClasses.Labels : ClassLabels.Unknown;
        return new ClassLabels(names, mayBeImageNet && ImageNetClasses.AreNamedBy(names) ? ImageNetClasses.WordNetIds : []);
    }

    /// <summary>The labels of a packed file, or those of a pipeline's index; null where there are none.</summary>
    private static string[]? ReadNames(ICheckpoint checkpoint, int classCount)
    {
        string[]? names = null;
        if (checkpoint.Metadata.ContainsKey(PackedModel.LabelsKey))
        {
            DiTConfigFacts.ReadObject(checkpoint, PackedModel.LabelsKey, labels => names = ReadNames(checkpoint, PackedModel.LabelsKey, labels, classCount));
        }
        else if (checkpoint.Metadata.ContainsKey(DiffusersFolder.ModelIndexName))
        {
            DiTConfigFacts.ReadObject(checkpoint, DiffusersFolder.ModelIndexName, root =>
            {
                if (root.TryGetProperty("id2label", out var labels) && labels.ValueKind == JsonValueKind.Object)
                    names = ReadNames(checkpoint, $"{DiffusersFolder.ModelIndexName}: id2label", labels, classCount);
            });
        }

        return names;
    }

    private static string[] ReadNames(ICheckpoint checkpoint, string where, JsonElement labels, int classCount)
    {
        var names = new string[classCount];
        Array.Fill(names, "");
        foreach (var label in labels.EnumerateObject())
        {
            if (!int.TryParse(label.Name, out var index) || index < 0 || index >= classCount || label.Value.ValueKind != JsonValueKind.String)
                throw new InvalidFileException(checkpoint.Path, $"{where} names class {TensorRules.Printable(label.Name)}; the label table has classes 0 to {classCount - 1}");
            names[index] = TensorRules.Printable(label.Value.GetString()!, LongestLabel);
        }

        return names;
    }
}

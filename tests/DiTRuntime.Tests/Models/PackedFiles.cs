using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Models;

/// <summary>Packed copies of models, rounded to nearest.</summary>
internal static class PackedFiles
{
    public const string Method = """{"method":"rtn"}""";

    /// <summary>The golden DiT of width 64.</summary>
    public static DiTWeights Tiny() => DiTWeightsLoader.Load(TestFiles.Golden("tiny/official.safetensors"), new DiTLoadOptions { HeadCount = 2 });

    /// <summary>Packs the golden DiT.</summary>
    public static string Write(string path, GroupFormat format, ActivationMode activations = ActivationMode.Float, bool packAll = false)
    {
        using var source = Tiny();
        return Write(path, source, PackedModelPlan.Uniform(source.Config, format, activations, packAll));
    }

    public static string Write(string path, DiTWeights source, PackedModelPlan plan)
    {
        PackedModelWriter.Write(path, source, plan, weight => Round(weight, plan.FormatOf(weight.Name)), Method);
        return path;
    }

    public static PackedLayer Round(LinearWeight weight, LayerFormat format) =>
        LayerQuantizer.RoundToNearest(weight, (GroupFormat)format.Weights!, activations: Activations(format, weight.Inputs));

    /// <summary>Dynamic activations, or static ones of a range of ±4.</summary>
    private static ActivationFormat? Activations(LayerFormat format, int inputs)
    {
        if (format.Activations == ActivationMode.Float) return null;
        var dynamic = new ActivationFormat(format.ActivationGroup);
        if (format.Activations == ActivationMode.Dynamic) return dynamic;
        var groups = dynamic.Grid(inputs).Count;
        var (scale, zero) = ActivationQuantizer.Range(-4, 4);
        return dynamic with { StaticScales = [.. Enumerable.Repeat(scale, groups)], StaticZeros = [.. Enumerable.Repeat(zero, groups)] };
    }
}

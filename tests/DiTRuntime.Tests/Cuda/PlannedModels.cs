using System.Globalization;
using DiTRuntime.Backends;
using DiTRuntime.Cuda.Benchmarks;
using DiTRuntime.Decoding;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Cuda;

/// <summary>DiT-XL/2 with one block in any format, for plans: every block of the real model is like it.</summary>
internal static class PlannedModels
{
    /// <summary>Layers of one shape and format are made once.</summary>
    private static readonly SyntheticLayers s_layers = new();

    /// <summary>"f16", or weights, activations and group: "w4a8-g128"; g0 is a group a row; or codebooks: "k256-d4", "k256-d4-a8-g96", "pq-k256-d8".</summary>
    public static DiTWeights DiTXL2(string format)
    {
        lock (s_layers) return s_layers.Model(DiTConfigs.Parse("DiT-XL/2") with { Depth = 1 }, format == "f16" ? LayerFormat.Dense : Packed(format), packsFinalModulation: true);
    }

    /// <summary>One layer.</summary>
    public static LinearWeight Layer(string name, int outputs, int inputs, LayerFormat format)
    {
        lock (s_layers) return s_layers.Make(name, outputs, inputs, format);
    }

    /// <summary>A narrow AutoencoderKL: the same kernels as the published one, but for the attention.</summary>
    public static IImageDecoder Decoder(IDiTBackend backend) => ImageDecoders.Open(TestFiles.Golden("vae"), backend);

    /// <summary>The format of a name but "f16".</summary>
    public static LayerFormat Packed(string format)
    {
        var activations = format.Contains("a8", StringComparison.Ordinal) ? ActivationMode.Dynamic : ActivationMode.Float;
        return format.Contains('k', StringComparison.Ordinal)
            ? new(new CodebookFormat(Number(format, 'k'), Number(format, 'd')) { IsProduct = format.StartsWith("pq", StringComparison.Ordinal) }, activations, activations == ActivationMode.Float ? 0 : Number(format, 'g'))
            : new(new GroupFormat(format[1] - '0', Number(format, 'g')), activations);
    }

    private static int Number(string format, char letter) =>
        int.Parse(format[(format.IndexOf(letter, StringComparison.Ordinal) + 1)..].Split('-')[0], CultureInfo.InvariantCulture);
}

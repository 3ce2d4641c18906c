using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Cuda.Engine;

/// <summary>The built-in digit model as it is and packed by rounding, made once for all tests.</summary>
internal static class DigitModels
{
    private static readonly Dictionary<string, string> s_files = [];
    private static readonly string s_folder = Directory.CreateTempSubdirectory("dit-engine-").FullName;

    static DigitModels() => AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(s_folder, recursive: true);

    /// <summary>"f16", or weights, activations and group: "w4a8-g96"; g0 is a group a row.</summary>
    public static DiTWeights Open(string format) => DiTWeightsLoader.Load(format == "f16" ? TestFiles.DigitModel : Packed(format));

    private static string Packed(string format)
    {
        if (s_files.TryGetValue(format, out var path)) return path;
        path = Path.Combine(s_folder, format + ".safetensors");
        var settings = new QuantizeSettings
        {
            Method = QuantizeMethod.Rtn,
            MethodName = "rtn",
            WeightBits = format[1] - '0',
            GroupSize = int.Parse(format[(format.IndexOf('g', StringComparison.Ordinal) + 1)..], System.Globalization.CultureInfo.InvariantCulture),
            Activations = format.Contains("a16", StringComparison.Ordinal) ? ActivationMode.Float : ActivationMode.Dynamic,
        };
        using var backend = CpuBackend.Create(new CpuOptions(2));
        new ModelQuantizer(() => DiTWeightsLoader.Load(TestFiles.DigitModel), backend, 2, _ => { }).Run(settings, path);
        s_files.Add(format, path);
        return path;
    }
}

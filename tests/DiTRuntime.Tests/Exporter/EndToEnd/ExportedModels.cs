using System.Collections.Concurrent;
using DiTRuntime.Imaging;
using DiTRuntime.Tests.Checkpoints;
using DiTRuntime.Tests.Cli;
using DiTRuntime.Tests.Decoding;

namespace DiTRuntime.Tests.Exporter.EndToEnd;

/// <summary>What the C# backend drew, and the folder that shall draw the same.</summary>
/// <param name="Folder">The export.</param>
/// <param name="Latents">Of both images.</param>
/// <param name="Images">Two.</param>
/// <param name="Printed">What <c>dit export</c> wrote to standard output.</param>
internal sealed record ExportedModel(string Folder, float[] Latents, Image[] Images, string Printed);

/// <summary>Exports that the tests share; each is made once, when it is first asked for.</summary>
[SetUpFixture]
internal sealed class ExportedModels
{
    /// <summary>What both engines are asked to draw.</summary>
    public static readonly string[] Request = ["--class-labels", "3,7", "--seed", "5"];

    private static readonly TestFolder s_folder = new();
    private static readonly ConcurrentDictionary<ExportCase, Lazy<ExportedModel>> s_models = new();
    private static readonly Lazy<string> s_tinyDecoder = new(WriteTinyDecoder);

    /// <summary>A folder that outlives the test but not the run.</summary>
    public static string Scratch(string name) => s_folder[name];

    /// <summary>Exports a model, and draws with the C# backend what the export shall draw.</summary>
    public static ExportedModel Of(ExportCase model) => s_models.GetOrAdd(model, key => new Lazy<ExportedModel>(() => Make(key))).Value;

    [OneTimeTearDown]
    public void Discard() => s_folder.Dispose();

    private static ExportedModel Make(ExportCase model)
    {
        var (place, source) = (Scratch(model.Name + "/"), model.Model);
        if (model.Configuration is { } configuration)
        {
            source = Path.Combine(place, "synthetic.safetensors");
            CliRunner.Run("synthesize", "--model", configuration, "--dtype", "f16", "-o", source).Succeeded();
        }

        if (model.Quantize is { } quantize)
        {
            var packed = Path.Combine(place, "packed.safetensors");
            CliRunner.Run(["quantize", .. ModelFlag(source), .. quantize, "--backend", "cpu", "-o", packed]).Succeeded();
            source = packed;
        }

        string[] reading = [.. model.Reading.Select(word => word == ExportCase.RandomTaesd ? s_tinyDecoder.Value : word), .. model.Sampling];
        var (folder, latents) = (Path.Combine(place, "export"), Path.Combine(place, "latents.safetensors"));
        var printed = CliRunner.Run(["export", .. ModelFlag(source), .. reading, "--target", "c", "--out", folder]).Succeeded().Out;
        CliRunner.Run([
            "generate", .. ModelFlag(source), .. reading, .. model.Drawing, .. Request, "--backend", "cpu", "--save-latents", latents,
            "--out", Path.Combine(place, "{index}.png"),
        ]).Succeeded();
        return new ExportedModel(folder, GoldenTensors.Load(latents).F32("latents"), [Image(place, 0), Image(place, 1)], printed);
    }

    /// <summary>An image of a folder.</summary>
    public static Image Image(string folder, int number) => PngReader.ReadPixels(Path.Combine(folder, $"{number}.png"));

    private static string[] ModelFlag(string? model) => model is null ? [] : ["--model", model];

    private static string WriteTinyDecoder()
    {
        var file = RawSafetensors.Empty();
        foreach (var tensor in TinyAutoencoderTests.Tensors(4, hasPool: false)) file.Add(tensor.Name, tensor.Shape, tensor.Values);
        return file.Save(Scratch("taesd.safetensors"));
    }
}

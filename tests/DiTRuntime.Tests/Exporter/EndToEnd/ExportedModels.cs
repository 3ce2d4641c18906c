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
internal sealed record ExportedModel(string Folder, float[] Latents, Image[] Images);

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

    /// <summary>Exports a model for the emulated device.</summary>
    public static string ForEmulator(ExportCase model)
    {
        var (place, source) = Source(model);
        var folder = Path.Combine(place, "export-emulated");
        CliRunner.Run(["export", .. ModelFlag(source), .. Reading(model), "--target", "cuda", "--arch", "emulated", "--out", folder]).Succeeded();
        return folder;
    }

    [OneTimeTearDown]
    public void Discard() => s_folder.Dispose();

    private static ExportedModel Make(ExportCase model)
    {
        var (place, source) = Source(model);
        var (folder, latents) = (Path.Combine(place, "export"), Path.Combine(place, "latents.safetensors"));
        CliRunner.Run(["export", .. ModelFlag(source), .. Reading(model), "--target", "c", "--out", folder]).Succeeded();
        CliRunner.Run([
            "generate", .. ModelFlag(source), .. Reading(model), .. model.Drawing, .. Request, "--backend", "cpu", "--save-latents", latents, "--out", Path.Combine(place, "{index}.png"),
        ]).Succeeded();
        return new ExportedModel(folder, GoldenTensors.Load(latents).F32("latents"), [Image(place, 0), Image(place, 1)]);
    }

    /// <summary>The model's file, made first where it is not there yet; and a folder for what comes of it.</summary>
    private static (string Place, string? Source) Source(ExportCase model)
    {
        var place = Scratch(model.Name + "/");
        if (model is { Configuration: null, Quantize: null }) return (place, model.Model);
        var made = Path.Combine(place, "model.safetensors");
        if (File.Exists(made)) return (place, made);
        if (model.Configuration is { } configuration) CliRunner.Run("synthesize", "--model", configuration, "--dtype", "f16", "-o", made).Succeeded();
        else CliRunner.Run(["quantize", .. ModelFlag(model.Model), .. model.Quantize!, "--backend", "cpu", "-o", made]).Succeeded();
        return (place, made);
    }

    private static string[] Reading(ExportCase model) => [.. model.Reading.Select(word => word == ExportCase.RandomTaesd ? s_tinyDecoder.Value : word), .. model.Sampling];

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

using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Models;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Calibration.Quantizing;

internal sealed class ModelQuantizerTests
{
    private static readonly QuantizeSettings s_rtn = new() { Method = QuantizeMethod.Rtn, MethodName = "rtn", WeightBits = 4, GroupSize = 32 };

    private static readonly QuantizeSettings s_gptq = s_rtn with { Method = QuantizeMethod.Gptq, MethodName = "gptq", SampleCount = 5, Seed = 3 };

    private readonly List<string> _notes = [];
    private readonly List<QuantizeProgress> _progress = [];

    [SetUp]
    public void Forget()
    {
        _notes.Clear();
        _progress.Clear();
    }

    private static IEnumerable<QuantizeSettings> Variants() =>
    [
        s_rtn, s_rtn with { Range = RangeRule.LeastError, GroupSize = 0 }, s_gptq, s_gptq with { Activations = ActivationMode.Float, PackAll = true },
        s_gptq with { Activations = ActivationMode.Static, GroupSize = 48 }, s_rtn with { Activations = ActivationMode.Static, SampleCount = 3 },
    ];

    [TestCaseSource(nameof(Variants))]
    public void Is_the_same_on_any_number_of_threads(QuantizeSettings settings)
    {
        using var folder = new TemporaryFolder();
        foreach (var threads in new[] { 1, 2, 3 }) Quantize(settings, folder[$"{threads}"], threads);

        var one = File.ReadAllBytes(folder["1"]);
        Assert.That(File.ReadAllBytes(folder["2"]).AsSpan().SequenceEqual(one), Is.True);
        Assert.That(File.ReadAllBytes(folder["3"]).AsSpan().SequenceEqual(one), Is.True);
    }

    [TestCaseSource(nameof(Variants))]
    public void Makes_a_file_that_the_runtime_reads_in_the_formats_asked_for(QuantizeSettings settings)
    {
        using var folder = new TemporaryFolder();
        settings = settings with { Groups = new Dictionary<string, int> { ["blocks.1.mlp.fc2"] = 64, ["blocks.0.adaLN_modulation.1"] = 16 } };

        var report = Quantize(settings, folder["q"]);

        using var weights = DiTWeightsLoader.Load(folder["q"]);
        var layers = weights.Layers.ToDictionary(layer => layer.Name);
        Assert.That(((GroupWeight)layers["blocks.1.mlp.fc2"]).Format, Is.EqualTo(new GroupFormat(4, 64)));
        Assert.That(((GroupWeight)layers["blocks.0.adaLN_modulation.1"]).Format, Is.EqualTo(new GroupFormat(4, 16)));
        Assert.That(((GroupWeight)layers["blocks.0.attn.qkv"]).Format, Is.EqualTo(new GroupFormat(4, settings.GroupSize)));
        Assert.That(layers["blocks.0.adaLN_modulation.1"].Activations, Is.Null);
        Assert.That(layers["blocks.1.mlp.fc2"].Activations?.GroupSize ?? 0, Is.EqualTo(settings.Activations == ActivationMode.Float ? 0 : 64));
        Assert.That(layers["blocks.1.mlp.fc2"].Activations is { StaticScales: not null }, Is.EqualTo(settings.Activations == ActivationMode.Static));
        Assert.That(layers["final_layer.linear"] is GroupWeight, Is.EqualTo(settings.PackAll));
        Assert.That(report.ByteCount, Is.EqualTo(new FileInfo(folder["q"]).Length));
        Assert.That(report.Layers, Has.Count.EqualTo(settings.PackAll ? 16 : 10));
        Assert.That(report.Layers.Where(layer => layer.Name.StartsWith("blocks.", StringComparison.Ordinal)).All(layer => layer.OutputError is > 0 and < 0.5), Is.EqualTo(settings.Method == QuantizeMethod.Gptq));
        Assert.That(report.Layers.Select(layer => layer.WeightError), Has.All.InRange(0.0001, 0.5));
        Assert.That(Directory.Exists(folder["q.work"]), Is.False);
    }

    [Test]
    public void A_killed_run_leaves_no_file_and_is_taken_up([Values] ActivationMode activations)
    {
        using var folder = new TemporaryFolder();
        var settings = s_gptq with { Activations = activations };
        Quantize(settings, folder["whole"]);
        using var kill = new CancellationTokenSource();

        Assert.That(() => Quantize(settings, folder["q"], onProgress: p => { if (p is { Stage: "calibrating", Done: > 1 }) kill.Cancel(); }, cancellation: kill.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(File.Exists(folder["q"]), Is.False);
        Assert.That(_notes, Is.Empty);
        var parts = Directory.GetFiles(folder["q.work"], "blocks.0.*").ToDictionary(path => path, File.GetLastWriteTimeUtc);
        Assert.That(parts, Has.Count.EqualTo(5));
        _progress.Clear();
        var report = Quantize(settings, folder["q"], onProgress: _ => Assert.That(parts.Keys, Has.All.Matches((string path) => !File.Exists(path) || File.GetLastWriteTimeUtc(path) == parts[path])));

        Assert.That(_notes.Single(), Does.Contain("after block 1 of 2"));
        Assert.That(report.ResumedBlocks, Is.EqualTo(1));
        Assert.That(_progress.Select(p => p.Stage).Distinct(), Is.EqualTo(new[] { "calibrating" }));
        Assert.That(report.Layers, Has.Count.EqualTo(10));
        Assert.That(File.ReadAllBytes(folder["q"]).AsSpan().SequenceEqual(File.ReadAllBytes(folder["whole"])), Is.True);
        Assert.That(Directory.Exists(folder["q.work"]), Is.False);
    }

    [Test]
    public void Work_with_other_settings_is_dropped_with_a_word()
    {
        using var folder = new TemporaryFolder();
        using var kill = new CancellationTokenSource();
        Assert.That(() => Quantize(s_gptq, folder["q"], onProgress: p => { if (p is { Stage: "calibrating", Done: > 1 }) kill.Cancel(); }, cancellation: kill.Token), Throws.InstanceOf<OperationCanceledException>());

        var report = Quantize(s_gptq with { Seed = 4 }, folder["q"]);

        Assert.That(_notes.Single(), Does.Contain("starting anew").And.Contain("q.work"));
        Assert.That(report.ResumedBlocks, Is.Zero);
        Quantize(s_gptq with { Seed = 4 }, folder["fresh"]);
        Assert.That(File.ReadAllBytes(folder["q"]).AsSpan().SequenceEqual(File.ReadAllBytes(folder["fresh"])), Is.True);
    }

    [Test]
    public void Strange_files_in_the_place_of_work_are_left_alone()
    {
        using var folder = new TemporaryFolder();
        Directory.CreateDirectory(folder["q.work"]);
        File.WriteAllText(folder["q.work/thesis.txt"], "do not delete");

        Assert.That(() => Quantize(s_gptq, folder["q"]), Throws.InstanceOf<OutputException>().With.Message.Contains("thesis.txt"));
        Assert.That(File.Exists(folder["q.work/thesis.txt"]), Is.True);
    }

    [Test]
    public void A_damaged_state_is_refused_by_name()
    {
        using var folder = new TemporaryFolder();
        using var kill = new CancellationTokenSource();
        Assert.That(() => Quantize(s_gptq, folder["q"], onProgress: p => { if (p is { Stage: "calibrating", Done: > 1 }) kill.Cancel(); }, cancellation: kill.Token), Throws.InstanceOf<OperationCanceledException>());
        var state = folder["q.work/state.safetensors"];
        File.WriteAllBytes(state, File.ReadAllBytes(state)[..1000]);

        Assert.That(() => Quantize(s_gptq, folder["q"]), Throws.InstanceOf<InvalidFileException>().With.Message.Contains("state.safetensors"));
    }

    [Test]
    public void Unknown_layers_and_too_many_samples_are_refused()
    {
        using var folder = new TemporaryFolder();

        Assert.That(
            () => Quantize(s_rtn with { Groups = new Dictionary<string, int> { ["blocks.2.attn.qkv"] = 32 } }, folder["q"]),
            Throws.InstanceOf<UsageException>().With.Message.Contains("blocks.2.attn.qkv"));
        Assert.That(() => Quantize(s_gptq with { SampleCount = int.MaxValue }, folder["q"]), Throws.InstanceOf<UsageException>().With.Message.Contains("--samples"));
    }

    private QuantizeReport Quantize(
        QuantizeSettings settings, string output, int threads = 2, Action<QuantizeProgress>? onProgress = null, CancellationToken cancellation = default)
    {
        using var backend = CpuBackend.Create(new CpuOptions(threads));
        // The flat state dict names no head count.
        static DiTWeights Open() => DiTWeightsLoader.Load(TestFiles.Golden("tiny/official.safetensors"), new DiTLoadOptions { HeadCount = 2 });
        return new ModelQuantizer(Open, backend, threads, _notes.Add).Run(settings, output, new Relay<QuantizeProgress>(p =>
        {
            _progress.Add(p);
            onProgress?.Invoke(p);
        }), cancellation);
    }
}

using System.Globalization;
using System.IO.Compression;
using System.Runtime.InteropServices;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Dpq;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Models;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Calibration.Evaluation;
using DiTRuntime.Tests.Imaging;
using DiTRuntime.Tests.Quantization;

namespace DiTRuntime.Tests.Calibration.Dpq;

internal sealed class DpqTrainingTests
{
    private static readonly CodebookSettings s_codebook = new() { CodebookSize = 8, VectorLength = 4, HasRowScales = true };

    private static readonly DpqSchedule s_short = new() { Rounds = 2, StepsPerRound = 5, RowCount = 4, StartSweeps = 2, SaveShare = 1 };

    private TemporaryFolder _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    private static IEnumerable<TestCaseData> Layouts() =>
    [
        new(s_codebook, false), new(s_codebook, true),
        new(s_codebook with { IsProduct = true, HasRowScales = false }, false),
        new(s_codebook with { IsProduct = true, CodebookSize = 16, Pool = PoolUse.On }, false),
    ];

    [TestCaseSource(nameof(Layouts))]
    public void Lowers_the_error_of_the_noise_on_samples_that_are_held_out(CodebookSettings books, bool hasData)
    {
        Train(Settings(books, hasData), s_short);

        var errors = HeldOutErrors();
        // The first line is the start, the second the fit of codes to outputs, the others are rounds.
        Assert.That(errors, Has.Length.EqualTo(4));
        Assert.That(errors[1..].Min(), Is.LessThan(0.8 * errors[0]));
        Assert.That(BestError(), Is.EqualTo(errors.Min()));
        Assert.That(Directory.GetFiles(_folder["q.work"], "*.trained.part.safetensors"), Has.Length.EqualTo(10));
    }

    [Test]
    public void Never_ends_worse_than_it_began()
    {
        // A rate at which everything flies apart.
        Train(Settings(s_codebook, hasData: false), s_short with { RateScale = 1000 });

        var errors = HeldOutErrors();
        Assert.That(errors[^1], Is.GreaterThan(errors[1]));
        Assert.That(BestError(), Is.EqualTo(errors.Min()));
    }

    [Test]
    public void Is_the_same_on_any_number_of_threads([Values] bool hasData)
    {
        var settings = Settings(s_codebook with { IsProduct = true, Pool = PoolUse.On }, hasData);
        Train(settings, s_short, threads: 1);
        var one = Results();
        foreach (var threads in new[] { 3 })
        {
            Directory.Delete(_folder["q.work"], recursive: true);
            Train(settings, s_short, threads);
            AssertSame(Results(), one);
        }
    }

    // In the first step and round, at the end of one, and in a later one.
    [TestCase(0, false)]
    [TestCase(3, false)]
    [TestCase(5, false)]
    [TestCase(8, true)]
    public void A_killed_run_goes_on_to_the_same_bits(int killedAfter, bool hasData)
    {
        var settings = Settings(s_codebook, hasData);
        Train(settings, s_short);
        var whole = Results();
        Directory.Delete(_folder["q.work"], recursive: true);
        using var kill = new CancellationTokenSource();
        Assert.That(
            () => Train(settings, s_short, onProgress: p => { if (p is { Unit: "steps" } && (int)p.Done == killedAfter + 1) kill.Cancel(); }, cancellation: kill.Token),
            Throws.InstanceOf<OperationCanceledException>());
        Assert.That(Directory.GetFiles(_folder["q.work"], "*.trained.*"), Is.Empty);

        var steps = new List<int>();
        var notes = Train(settings, s_short, onProgress: p => { if (p.Unit == "steps") steps.Add((int)p.Done); });

        Assert.That(notes.Single(), Does.Contain($"after step {killedAfter + 1} of 10").Or.Contain($"after step {killedAfter} of 10"));
        Assert.That(steps[0], Is.GreaterThan(killedAfter));
        AssertSame(Results(), whole);
        Assert.That(HeldOutErrors(), Has.Length.EqualTo(4));
    }

    [Test]
    public void Data_that_do_not_fit_are_refused_by_name()
    {
        var settings = Settings(s_codebook, hasData: true);
        NpzFiles.Save(settings.Codebooks!.DataPath!, CompressionLevel.Fastest, ("x", NpzFiles.Npy("|u1", "(1, 4, 16, 8)", new byte[512])), ("y", NpzFiles.Npy("<i8", "(1,)", new byte[8])));

        Assert.That(() => Train(settings, s_short), Throws.InstanceOf<InvalidFileException>().With.Message.Contains("data.npz").And.Message.Contains("array x"));
    }

    private QuantizeSettings Settings(CodebookSettings books, bool hasData)
    {
        if (hasData)
        {
            using var weights = Open();
            var (config, count) = (weights.Config, 20);
            var values = MemoryMarshal.AsBytes<float>(Gaussian.Values(count * config.LatentCount, seed: 2)).ToArray();
            var labels = Enumerable.Range(0, count).SelectMany(i => BitConverter.GetBytes((long)i % config.ClassCount)).ToArray();
            NpzFiles.Save(
                _folder["data.npz"], CompressionLevel.Fastest,
                ("latents", NpzFiles.Npy("<f4", $"({count}, {config.InChannels}, {config.InputSize}, {config.InputSize})", values)), ("labels", NpzFiles.Npy("<i8", $"({count},)", labels)));
            books = books with { DataPath = _folder["data.npz"] };
        }

        return new QuantizeSettings { Method = QuantizeMethod.Dpq, MethodName = "dpq", GroupSize = 0, Codebooks = books, Activations = ActivationMode.Float, SampleCount = 16 };
    }

    private List<string> Train(QuantizeSettings settings, DpqSchedule schedule, int threads = 2, Action<QuantizeProgress>? onProgress = null, CancellationToken cancellation = default)
    {
        using var backend = CpuBackend.Create(new CpuOptions(threads));
        using var workers = new Workers(threads);
        using var weights = Open();
        var plan = settings.Plan(weights.Config);
        var notes = new List<string>();
        var folder = WorkFolder.Open(_folder["q"], settings.MethodJson(), notes.Add);
        foreach (var layer in weights.Layers.Where(layer => plan.FormatOf(layer.Name).Weights is CodebookFormat && !folder.Has(layer.Name)))
            folder.Save(new PackedLayer(Start(layer, (CodebookFormat)plan.FormatOf(layer.Name).Weights! with { PoolSize = 0 }, workers)));
        new DpqTraining(schedule).Run(new CodebookTask(settings, plan, Open, backend, workers, folder, notes.Add, onProgress is null ? null : new Relay<QuantizeProgress>(onProgress), cancellation));
        return notes;
    }

    /// <summary>A start that no one would choose: the first vectors of each codebook's region, and the nearest of them.</summary>
    private static unsafe CodebookWeight Start(LinearWeight weight, CodebookFormat format, Workers workers)
    {
        var values = new float[weight.Outputs * weight.Inputs];
        weight.CopyRows(0, weight.Outputs, values);
        var layer = new CodebookLayer(weight.Name, weight.Outputs, weight.Inputs, format, weight.Bias);
        var (d, k) = (format.VectorLength, format.CodebookSize);
        for (var book = 0; book < format.BookCount(weight.Inputs); book++)
            for (var c = 0; c < k; c++)
                values.AsSpan(format.IsProduct ? c * weight.Inputs + book * d : c * d, d).CopyTo(layer.Vectors.AsSpan((book * k + c) * d));
        var identity = new float[weight.Inputs * weight.Inputs];
        for (var i = 0; i < weight.Inputs; i++) identity[i * weight.Inputs + i] = 1;
        fixed (float* w = values, h = identity)
        {
            using var update = new AssignmentUpdate(workers, new Matrix(w, weight.Outputs, weight.Inputs, weight.Inputs), new Matrix(h, weight.Inputs, weight.Inputs, weight.Inputs));
            update.Sweep(layer);
        }

        return layer.ToWeight();
    }

    // The flat state dict names no head count.
    private static DiTWeights Open() => DiTWeightsLoader.Load(TestFiles.Golden("tiny/official.safetensors"), new DiTLoadOptions { HeadCount = 2 });

    private double[] HeldOutErrors() => Column(3);

    private double BestError() => Column(4)[^1];

    private double[] Column(int column) => [.. File.ReadLines(_folder["q.work/training.log.csv"]).Skip(1).Select(line => double.Parse(line.Split(',')[column + 1], CultureInfo.InvariantCulture))];

    private Dictionary<string, byte[]> Results() => Directory.GetFiles(_folder["q.work"], "*.trained.*").ToDictionary(path => Path.GetFileName(path), File.ReadAllBytes);

    private static void AssertSame(Dictionary<string, byte[]> results, Dictionary<string, byte[]> expected)
    {
        Assert.That(results.Keys, Is.EquivalentTo(expected.Keys));
        foreach (var (name, bytes) in expected) Assert.That(results[name].AsSpan().SequenceEqual(bytes), name);
    }
}

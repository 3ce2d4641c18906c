using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Calibration.Training;
using DiTRuntime.Calibration.Vq4Dit;
using DiTRuntime.Models;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Calibration.Vq4Dit;

internal sealed class Vq4DitTrainingTests
{
    private const string Log = "training.log.csv", State = "training.state.safetensors";

    private static readonly Vq4DitSchedule s_schedule = new() { Iterations = 24 };

    private readonly List<string> _notes = [];
    private readonly TemporaryFolder _folder = new();

    [SetUp]
    public void Forget() => _notes.Clear();

    [OneTimeTearDown]
    public void Release() => _folder.Dispose();

    [Test]
    public void The_error_falls_and_codes_are_found([Values] TrainingScope training)
    {
        var work = Train(training, $"{training}");

        var errors = Errors();
        Assert.That(errors.After, Is.LessThan(0.7 * errors.Before));
        var lines = File.ReadAllLines(Path.Combine(work, Log)).Skip(1).Select(line => line.Split(',')).ToArray();
        var loops = lines.GroupBy(cells => cells[0]).ToArray();
        Assert.That(loops.Select(loop => loop.Key), Is.EqualTo(training == TrainingScope.Model ? new[] { "" } : ["0", "1"]));
        foreach (var loop in loops)
        {
            var shares = loop.Select(cells => double.Parse(cells[4])).ToArray();
            Assert.That(shares, Is.Ordered);
            Assert.That(shares[^1], Is.EqualTo(1));
            Assert.That(loop.Last()[1], Is.EqualTo("24"));
            Assert.That(double.Parse(loop.Last()[5]), Is.GreaterThan(0));
        }

        Assert.That(double.Parse(lines[^1][6]), Is.Zero);
        Assert.That(Trained(work), Has.Count.EqualTo(10));
    }

    [Test]
    public void Is_the_same_on_any_number_of_threads([Values] TrainingScope training)
    {
        var one = Trained(Train(training, $"{training}1", threads: 1));

        AreSame(Trained(Train(training, $"{training}3", threads: 3)), one);
    }

    [TestCase(TrainingScope.Model, 5)]
    [TestCase(TrainingScope.Model, 20)]
    [TestCase(TrainingScope.Blocks, 5)]
    [TestCase(TrainingScope.Blocks, 24)]
    [TestCase(TrainingScope.Blocks, 40)]
    public void A_killed_run_is_taken_up_without_a_trace(TrainingScope training, int kill)
    {
        var whole = Train(training, $"{training}whole{kill}");
        var log = Columns(whole);
        _notes.Clear();
        using var cancellation = new CancellationTokenSource();
        var name = $"{training}killed{kill}";

        Assert.That(() => Train(training, name, onIteration: done => { if (done >= kill) cancellation.Cancel(); }, cancellation: cancellation.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(_notes.Where(note => note.Contains("goes on")), Is.Empty);
        var least = double.PositiveInfinity;
        var work = Train(training, name, onIteration: done => least = Math.Min(least, done));

        Assert.That(_notes.Any(note => note.Contains("goes on")), Is.True);
        // States are saved after every iteration here: none is lost.
        Assert.That(least, Is.EqualTo(kill + 1));
        AreSame(Trained(work), Trained(whole));
        Assert.That(Columns(work), Is.EqualTo(log));
    }

    [Test]
    public void A_damaged_state_is_refused_by_name([Values] TrainingScope training)
    {
        using var cancellation = new CancellationTokenSource();
        var name = $"{training}damaged";
        Assert.That(() => Train(training, name, onIteration: done => { if (done >= 3) cancellation.Cancel(); }, cancellation: cancellation.Token), Throws.InstanceOf<OperationCanceledException>());
        var state = Path.Combine(_folder[name] + ".work", State);
        var bytes = File.ReadAllBytes(state);
        File.WriteAllBytes(state, bytes[..(bytes.Length / 2)]);
        Assert.That(() => Train(training, name), Throws.InstanceOf<InvalidFileException>().With.Message.Contains(State));

        TrainingState.Save(state, new Dictionary<string, string> { ["block"] = "0", ["iteration"] = "many" }, _ => { });
        Assert.That(() => Train(training, name), Throws.InstanceOf<InvalidFileException>().With.Message.Contains(State).And.Message.Contains("remove the folder"));

        TrainingState.Save(state, new Dictionary<string, string> { ["block"] = "0", ["iteration"] = "3" }, _ => { });
        Assert.That(() => Train(training, name), Throws.InstanceOf<InvalidFileException>().With.Message.Contains(State).And.Message.Contains("no tensor errors"));
    }

    [Test]
    public void Nothing_worse_than_the_start_is_kept([Values] TrainingScope training)
    {
        // Steps larger than the codewords: every checkpoint is worse than the start.
        var work = Train(training, $"{training}worse", s_schedule with { CodewordStep = 20, BiasStep = 20 });

        var errors = Errors();
        Assert.That(errors.After, Is.EqualTo(errors.Before));
        Assert.That(_notes[^1], Does.Contain("what it started from is kept"));
        Assert.That(Trained(work), Is.Empty);
    }

    [Test]
    public void A_single_sample_is_refused() => Assert.That(() => Train(TrainingScope.Blocks, "single", samples: 1), Throws.InstanceOf<UsageException>().With.Message.Contains("--samples 1"));

    private static SortedDictionary<string, byte[]> Trained(string work) =>
        new(Directory.GetFiles(work, "*.trained.part.safetensors").ToDictionary(path => Path.GetFileName(path), File.ReadAllBytes), StringComparer.Ordinal);

    /// <summary>The log but for its last column, the time left.</summary>
    private static string[] Columns(string work) => [.. File.ReadAllLines(Path.Combine(work, Log)).Select(line => line[..line.LastIndexOf(',')])];

    private static void AreSame(SortedDictionary<string, byte[]> found, SortedDictionary<string, byte[]> expected)
    {
        Assert.That(found.Keys, Is.EqualTo(expected.Keys));
        foreach (var (name, bytes) in expected) Assert.That(found[name].AsSpan().SequenceEqual(bytes), Is.True, name);
    }

    private (double Before, double After) Errors()
    {
        var words = _notes[^1].Split(' ');
        return (double.Parse(words[Array.IndexOf(words, "before") - 1]), double.Parse(words[Array.IndexOf(words, "after") - 1 is var at && at >= 0 ? at : Array.FindIndex(words, word => word.StartsWith("after", StringComparison.Ordinal)) - 1]));
    }

    private string Train(
        TrainingScope training, string name, Vq4DitSchedule? schedule = null, int threads = 2, int samples = 12, Action<double>? onIteration = null, CancellationToken cancellation = default)
    {
        using var backend = CpuBackend.Create(new CpuOptions(threads));
        using var workers = new Workers(threads, cancellation);
        using var weights = Open();
        var settings = CodebookFixtures.Settings(training, samples);
        var plan = settings.Plan(weights.Config);
        var folder = WorkFolder.Open(_folder[name], "settings", _notes.Add);
        if (!folder.Has("blocks.0.attn.qkv")) CodebookFixtures.Save(weights, plan, folder);
        var progress = new Relay<QuantizeProgress>(p =>
        {
            if (p.Stage == "training") onIteration?.Invoke(p.Done);
        });
        new Vq4DitTraining(schedule ?? s_schedule, saveShare: 1).Run(new CodebookTask(settings, plan, Open, backend, workers, folder, _notes.Add, progress, cancellation));
        return _folder[name] + ".work";
    }

    // The flat state dict names no head count.
    private static DiTWeights Open() => DiTWeightsLoader.Load(TestFiles.Golden("tiny/official.safetensors"), new DiTLoadOptions { HeadCount = 2 });
}

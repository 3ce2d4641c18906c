using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Evaluation;
using DiTRuntime.Decoding;
using DiTRuntime.Models;
using DiTRuntime.Sampling;
using DiTRuntime.Tests.Checkpoints;

namespace DiTRuntime.Tests.Calibration.Evaluation;

public sealed class ModelComparisonTests
{
    private readonly CpuBackend _backend = CpuBackend.Create(new CpuOptions(2));
    private TestFolder _folder = null!;

    [OneTimeSetUp]
    public void MakeFolder() => _folder = new TestFolder();

    [OneTimeTearDown]
    public void End()
    {
        _folder.Dispose();
        _backend.Dispose();
    }

    [Test]
    public void A_model_is_not_different_from_itself()
    {
        using DiTModel reference = Open(), candidate = Open();
        var result = ModelComparison.Run(reference, candidate, new ComparisonSettings(Steps: 3, Samples: 2), decoder: null);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(result.EpsMse, Is.Zero);
            Assert.That(result.FinalLatentSnrDecibels, Is.EqualTo(200));
            Assert.That(result.ImagePsnrDecibels, Is.Null);
            Assert.That(result.Blocks.Select(b => (b.Index, b.Cosine, b.SnrDecibels)), Is.EqualTo(new[] { (0, 1.0, 200.0), (1, 1.0, 200.0) }));
            Assert.That(result.Timesteps.Select(t => t.Timestep).ToArray(), Has.Length.EqualTo(3).And.Ordered.Descending);
        }
    }

    [Test]
    public void Errors_begin_at_the_block_that_is_disturbed_and_grow_with_the_disturbance()
    {
        using DiTModel reference = Open(), slightly = Open(Disturbed("blocks.1.mlp.fc2.weight", 0.2f)), strongly = Open(Disturbed("blocks.1.mlp.fc2.weight", 2f));
        var settings = new ComparisonSettings(Steps: 4, Samples: 3, GuidanceScale: 2);
        ComparisonResult small = ModelComparison.Run(reference, slightly, settings, null), large = ModelComparison.Run(reference, strongly, settings, null);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(small.Blocks[0].SnrDecibels, Is.EqualTo(200));
            Assert.That(small.Blocks[1].SnrDecibels, Is.InRange(10, 100));
            // Ten times the disturbance of one linear layer behind the last nonlinearity: 20 dB.
            Assert.That(small.Blocks[1].SnrDecibels - large.Blocks[1].SnrDecibels, Is.EqualTo(20).Within(0.5));
            Assert.That(large.EpsMse, Is.GreaterThan(10 * small.EpsMse));
            Assert.That(large.FinalLatentSnrDecibels, Is.LessThan(small.FinalLatentSnrDecibels));
            Assert.That(small.EpsMse, Is.EqualTo(small.Timesteps.Average(t => t.EpsMse)).Within(1e-12));
            Assert.That(large.Blocks[1].Cosine, Is.LessThan(small.Blocks[1].Cosine).And.GreaterThan(0));
        }
    }

    [Test]
    public void The_noise_error_is_that_of_single_passes()
    {
        var disturbed = Disturbed("blocks.0.attn.qkv.weight", 0.3f);
        using DiTModel reference = Open(), candidate = Open(disturbed);
        var result = ModelComparison.Run(reference, candidate, new ComparisonSettings(Steps: 1, Samples: 1, Seed: 5, GuidanceScale: 1), null);
        var config = reference.Config;
        var latents = new float[config.LatentCount];
        new ImageNoise(5).BeginBatch([0], latents);
        int[] timestep = [result.Timesteps[0].Timestep], label = [0];
        float[] right = new DiTForward(reference).Raw(latents, timestep, label), wrong = new DiTForward(candidate).Raw(latents, timestep, label);
        var expected = right.Zip(wrong, (a, b) => ((double)a - b) * ((double)a - b)).Take(config.LatentCount).Average();
        Assert.That(result.EpsMse, Is.EqualTo(expected).Within(1e-9 * expected));
    }

    [Test]
    public void The_final_latents_are_those_of_each_model_alone()
    {
        using DiTModel reference = Open(), candidate = Open(Disturbed("blocks.0.attn.qkv.weight", 0.3f));
        var settings = new ComparisonSettings(Steps: 3, Samples: 2, Seed: 2, GuidanceScale: 3);
        var result = ModelComparison.Run(reference, candidate, settings, null);
        var plan = SamplingPlan.Ddim(TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), 3), 0);
        float[] right = Generate(reference), wrong = Generate(candidate);
        var expected = 10 * Math.Log10(right.Sum(v => (double)v * v) / right.Zip(wrong, (a, b) => ((double)a - b) * ((double)a - b)).Sum());
        Assert.That(result.FinalLatentSnrDecibels, Is.EqualTo(expected).Within(1e-6));

        float[] Generate(DiTModel model)
        {
            var latents = new List<float>();
            int[] labels = [settings.LabelOf(0, 10), settings.LabelOf(1, 10)];
            new DiTPipeline(model, null).Generate([0, 1], labels, new SamplingSettings(plan, new ImageNoise(2), 3, 3), 2, image => latents.AddRange(image.Latent));
            return [.. latents];
        }
    }

    [Test]
    public void Images_are_compared_where_there_is_a_decoder()
    {
        using DiTModel reference = OpenDigits(), candidate = OpenDigits();
        using var decoder = new PixelDecoder(1);
        var result = ModelComparison.Run(reference, candidate, new ComparisonSettings(Steps: 1, Samples: 2), decoder);
        Assert.That(result.ImagePsnrDecibels, Is.EqualTo(200));
        Assert.That(result.Images.Select(pair => pair.Reference.Length), Is.EqualTo(new[] { 1024, 1024 }));
        Assert.That(result.Images[0].Reference, Is.All.InRange(-1, 1));
    }

    [Test]
    public void Another_architecture_is_refused_by_the_fact_that_differs()
    {
        using DiTModel reference = OpenDigits(), candidate = Open();
        Assert.That(
            () => ModelComparison.Run(reference, candidate, new ComparisonSettings(), null),
            Throws.TypeOf<UsageException>().With.Message.Contains("depth 6").And.Message.Contains("the candidate 2"));
    }

    [TestCase(0, 1, 1f, "--steps 0")]
    [TestCase(1, 0, 1f, "--samples 0")]
    [TestCase(1, 1, -1f, "--cfg-scale -1")]
    public void Settings_that_make_no_sense_are_refused(int steps, int samples, float scale, string found)
    {
        using var model = Open();
        Assert.That(() => ModelComparison.Run(model, model, new ComparisonSettings(steps, samples, 0, scale), null), Throws.TypeOf<UsageException>().With.Message.Contains(found));
    }

    [Test]
    public void Measures_of_errors_follow_their_definitions()
    {
        var sums = new ErrorSums();
        sums.Add([3, 0], [3, 0.3f]);
        sums.Add([0, 4], [0.4f, 4]);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(sums.MeanSquare, Is.EqualTo(0.0625).Within(1e-8));
            Assert.That(sums.SnrDecibels, Is.EqualTo(20).Within(1e-5));
            Assert.That(sums.PsnrDecibels(2), Is.EqualTo(10 * Math.Log10(4 / 0.0625)).Within(1e-5));
            Assert.That(sums.Cosine, Is.EqualTo(25 / Math.Sqrt(25 * 25.25)).Within(1e-7));
        }
    }

    [Test]
    public void A_candidate_that_is_no_number_is_as_wrong_as_can_be()
    {
        var sums = new ErrorSums();
        sums.Add([1, 2], [float.NaN, 2]);
        Assert.That(sums.SnrDecibels, Is.EqualTo(-200));
        Assert.That(sums.PsnrDecibels(2), Is.EqualTo(-200));
    }

    private DiTModel Open(string? path = null) =>
        new(DiTWeightsLoader.Load(path ?? TestFiles.Golden("tiny/official.safetensors"), new DiTLoadOptions { HeadCount = 2 }), _backend, Compatibility.Official);

    private DiTModel OpenDigits() => new(DiTWeightsLoader.Load(TestFiles.DigitModel), _backend, Compatibility.Official);

    private string Disturbed(string name, float amount) => DisturbedModels.Write(_folder[$"{name}-{amount}.safetensors"], name, amount);
}

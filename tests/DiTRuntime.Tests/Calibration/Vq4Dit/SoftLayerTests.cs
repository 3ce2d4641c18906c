using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Calibration.Training;
using DiTRuntime.Calibration.Vq4Dit;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Backends;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Calibration.Vq4Dit;

internal sealed class SoftLayerTests
{
    private const int Outputs = 18;
    private const float Rate = 1e-2f;

    private readonly Workers _workers = new(2);
    private readonly RandomWeights _weights = new(4);
    private readonly TemporaryFolder _folder = new();

    [OneTimeTearDown]
    public void Release()
    {
        _workers.Dispose();
        _weights.Dispose();
        _folder.Dispose();
    }

    private static IEnumerable<TestCaseData> Layers() =>
    [
        new(new CodebookFormat(16, 4), 24, 1),
        new(new CodebookFormat(16, 4), 24, 2),
        new(new CodebookFormat(5, 2) { Parts = 3 }, 14, 3),
        new(new CodebookFormat(9, 3) { HasRowScales = true }, 15, 4),
        new(new CodebookFormat(6, 2) { IsProduct = true }, 38, 2),
        new(new CodebookFormat(7, 3) { IsProduct = true, PoolSize = 11, HasRowScales = true }, 12, 2),
        new(new CodebookFormat(3, 8), 16, 8),
    ];

    [TestCaseSource(nameof(Layers))]
    public void The_weight_is_a_mixture_of_the_nearest_codewords(CodebookFormat format, int inputs, int candidates)
    {
        foreach (var rule in new[] { RatioRule.Distances, RatioRule.Equal })
        {
            var (layer, naive) = Make(format, inputs, candidates, rule);

            // A few roundings of fp32 on ratios whose logarithms are of size 10.
            Assert.That(Relative.Error(Weight(layer), ToSingle(naive.Weight())), Is.LessThan(1e-5));
        }
    }

    [TestCaseSource(nameof(Layers))]
    public void Gradients_of_the_loss_are_those_of_finite_differences(CodebookFormat format, int inputs, int candidates)
    {
        var (layer, naive) = Make(format, inputs, candidates, RatioRule.Distances);
        var (gradient, biasGradient) = (_weights.Values(Outputs * inputs), _weights.Values(Outputs));
        var before = State(layer);

        layer.Steps = new StepSizes(Rate, Rate, Rate, RatioLoss: 1);
        layer.Step(gradient, biasGradient);

        var after = State(layer);
        double Loss() => naive.Weight().Zip(gradient, (w, g) => w * g).Sum();
        if (!layer.IsHard) Matches(Gradient(before, after, "logits", "logit_moments"), Differences(naive.Logits, Loss));
        Matches(Gradient(before, after, "vectors", "vector_moments"), Differences(naive.Vectors, Loss));
        Matches(Gradient(before, after, "bias", "bias_moments"), Array.ConvertAll(biasGradient, value => (double)value));
    }

    [Test]
    public void The_ratio_loss_is_weighed_against_the_gradient_of_the_step_before()
    {
        var (layer, naive) = Make(new CodebookFormat(9, 2), 20, 3, RatioRule.Equal);
        var gradient = _weights.Values(Outputs * 20);
        double Loss() => naive.Weight().Zip(gradient, (w, g) => w * g).Sum();
        layer.Steps = new StepSizes(Rate, 0, 0, RatioLoss: 2);
        var first = Differences(naive.Logits, Loss);
        var size = Math.Sqrt(first.Average(value => value * value));
        layer.Step(gradient, []);
        var between = State(layer);

        layer.Step(gradient, []);

        var after = State(layer);
        naive.Logits = Array.ConvertAll(between["logits"], value => (double)value);
        var expected = Differences(naive.Logits, () => Loss() + 2 * size * naive.RatioSum());
        var moments = after["logit_moments"].Zip(between["logit_moments"], (late, early) => Math.Sqrt(Math.Max(0, late - 0.9f * early) / 0.1)).ToArray();
        // A square root of differences of nearly equal squares: relative to the largest.
        Assert.That(moments.Zip(expected, (found, wanted) => Math.Abs(found - Math.Abs(wanted))).Max(), Is.LessThan(2e-3 * expected.Max(Math.Abs)));
        Assert.That(layer.RatioLoss, Is.EqualTo(RatioSumOf(naive, after["logits"]) / (Outputs * 10)).Within(1e-5));
    }

    [Test]
    public void Steady_gradients_freeze_the_better_candidate_and_make_the_layer_hard()
    {
        var (layer, naive) = Make(new CodebookFormat(16, 4), 24, 2, RatioRule.Equal);
        var gradient = _weights.Values(Outputs * 24);
        layer.Steps = new StepSizes(0.2f, 0, 0, RatioLoss: 0);
        var steps = 0;
        while (!layer.IsHard && steps < 60)
        {
            layer.Step(gradient, []);
            steps++;
            Assert.That(layer.RatioLoss, layer.IsHard ? Is.Zero : Is.GreaterThan(0));
        }

        Assert.That(layer.IsHard, Is.True);
        Assert.That(layer.FrozenCount, Is.EqualTo(layer.VectorCount));
        // A first step is 1/√0.1 of the rate; later ones are smaller than the rate, because a gradient by z falls with r(1 − r).
        Assert.That(steps, Is.InRange(4, 40));
        var weight = layer.ToWeight();
        var codes = new ushort[6];
        for (var row = 0; row < Outputs; row++)
        {
            BitPacking.Unpack(weight.Codes.Slice(row * weight.Format.RowBytes(24), weight.Format.RowBytes(24)), 4, 0, codes);
            for (var j = 0; j < 6; j++)
            {
                var v = row * 6 + j;
                double Product(int code) => Enumerable.Range(0, 4).Sum(i => gradient[v * 4 + i] * naive.Vectors[code * 4 + i]);
                Assert.That(Product(codes[j]), Is.LessThanOrEqualTo(Math.Max(Product(naive.Candidates[2 * v]), Product(naive.Candidates[2 * v + 1]))));
                Assert.That(codes[j], Is.EqualTo(naive.Candidates[2 * v]).Or.EqualTo(naive.Candidates[2 * v + 1]));
                if (Math.Abs(Product(naive.Candidates[2 * v]) - Product(naive.Candidates[2 * v + 1])) > 1e-3)
                    Assert.That(codes[j], Is.EqualTo(naive.Candidates.Skip(2 * v).Take(2).MinBy(Product)));
            }
        }
    }

    [TestCaseSource(nameof(Layers))]
    public void What_a_file_keeps_is_the_hard_layer_to_half_precision(CodebookFormat format, int inputs, int candidates)
    {
        var (layer, _) = Make(format, inputs, candidates, RatioRule.Distances);
        layer.Harden();

        var kept = new float[Outputs * inputs];
        layer.ToWeight().CopyRows(0, Outputs, kept);

        Assert.That(kept, Is.EqualTo(Weight(layer)));
        Assert.That(layer.ToWeight().Format, Is.EqualTo(format));
    }

    [TestCaseSource(nameof(Layers))]
    public void Steps_are_the_same_on_any_number_of_threads_and_after_a_break(CodebookFormat format, int inputs, int candidates)
    {
        var original = _weights.Linear(Outputs, inputs);
        var start = CodebookFixtures.Start(original, format);
        var gradients = Enumerable.Range(0, 6).Select(_ => _weights.Values(Outputs * inputs)).ToArray();
        var bias = _weights.Values(Outputs);
        var results = new List<Dictionary<string, float[]>>();
        foreach (var threads in new[] { 1, 2, 5 })
        {
            using var workers = new Workers(threads);
            var layer = New(workers);
            Run(layer, gradients);
            results.Add(State(layer));
        }

        var (broken, resumed) = (New(_workers), New(_workers));
        Run(broken, gradients[..4]);
        TrainingState.Save(_folder["state"], new Dictionary<string, string>(), broken.Exchange);
        TrainingState.Load(_folder["state"], (_, state) => resumed.Exchange(state));
        Run(resumed, gradients[4..]);
        results.Add(State(resumed));
        foreach (var result in results.Skip(1))
        {
            Assert.That(result.Keys, Is.EquivalentTo(results[0].Keys));
            foreach (var (name, values) in result) Assert.That(values, Is.EqualTo(results[0][name]), name);
        }

        SoftLayer New(Workers workers) => new(start, original, candidates, RatioRule.Distances, workers);

        void Run(SoftLayer layer, float[][] steps)
        {
            layer.Steps = new StepSizes(0.3f, Rate, Rate, RatioLoss: 1);
            foreach (var gradient in steps) layer.Step(gradient, bias);
        }
    }

    [Test]
    public void The_state_of_another_layer_is_refused_by_name()
    {
        var (layer, _) = Make(new CodebookFormat(16, 4), 24, 2, RatioRule.Equal);
        var (other, _) = Make(new CodebookFormat(8, 4), 24, 2, RatioRule.Equal);
        TrainingState.Save(_folder["other"], new Dictionary<string, string>(), other.Exchange);

        Assert.That(
            () => TrainingState.Load(_folder["other"], (_, state) => layer.Exchange(state)),
            Throws.InstanceOf<InvalidFileException>().With.Message.Contains("layer.vectors").And.Message.Contains("other"));
    }

    private (SoftLayer Layer, NaiveSoftLayer Naive) Make(CodebookFormat format, int inputs, int candidates, RatioRule rule)
    {
        var original = _weights.Linear(Outputs, inputs);
        var start = CodebookFixtures.Start(original, format);
        return (new SoftLayer(start, original, candidates, rule, _workers), new NaiveSoftLayer(start, original, Math.Min(candidates, format.CodebookSize), rule == RatioRule.Equal));
    }

    private static float[] Weight(SoftLayer layer)
    {
        var weight = new float[layer.Outputs * layer.Inputs];
        layer.CopyWeight(weight);
        return weight;
    }

    private static float[] ToSingle(double[] values) => Array.ConvertAll(values, value => (float)value);

    private Dictionary<string, float[]> State(SoftLayer layer)
    {
        TrainingState.Save(_folder["look"], new Dictionary<string, string>(), layer.Exchange);
        using var checkpoint = Checkpoint.Open(_folder["look"]);
        return checkpoint.Tensors.Where(tensor => tensor.Type == ElementType.F32 || tensor.Type == ElementType.U16).ToDictionary(
            tensor => tensor.Name["layer.".Length..],
            tensor => tensor.Type == ElementType.F32 ? tensor.ToArray() : [.. System.Runtime.InteropServices.MemoryMarshal.Cast<byte, ushort>(tensor.Bytes).ToArray().Select(code => (float)code)]);
    }

    /// <summary>The gradient that a first step has seen: its size from the moments, v = 0.1 g², its sign from where the parameter went.</summary>
    private static double[] Gradient(Dictionary<string, float[]> before, Dictionary<string, float[]> after, string parameters, string moments) =>
        [.. after[moments].Select((moment, i) => Math.Sqrt(moment / 0.1) * Math.Sign(before[parameters][i] - (double)after[parameters][i]))];

    private static double[] Differences(double[] parameters, Func<double> loss)
    {
        const double Distance = 1e-5;
        var gradient = new double[parameters.Length];
        for (var i = 0; i < parameters.Length; i++)
        {
            var value = parameters[i];
            parameters[i] = value + Distance;
            var above = loss();
            parameters[i] = value - Distance;
            gradient[i] = (above - loss()) / (2 * Distance);
            parameters[i] = value;
        }

        return gradient;
    }

    /// <summary>fp32 sums of up to 50 terms, differences of 1e-5: relative to the largest.</summary>
    private static void Matches(double[] found, double[] expected) =>
        Assert.That(found.Zip(expected, (a, b) => Math.Abs(a - b)).Max(), Is.LessThan(1e-5 * expected.Max(Math.Abs)));

    private static double RatioSumOf(NaiveSoftLayer naive, float[] logits)
    {
        naive.Logits = Array.ConvertAll(logits, value => (double)value);
        return naive.RatioSum();
    }
}

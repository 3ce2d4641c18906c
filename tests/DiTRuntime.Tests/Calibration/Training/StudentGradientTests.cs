using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Training;
using DiTRuntime.Models;
using DiTRuntime.Tests.Backends;
using DiTRuntime.Tests.Backends.Training;

namespace DiTRuntime.Tests.Calibration.Training;

/// <summary>A student of two blocks and its final layer against differences in fp64.</summary>
[TestFixture]
internal sealed class StudentGradientTests
{
    private const int Samples = 2;
    private const int Hidden = 24;

    /// <summary>As of a block, over two of them and a norm.</summary>
    private const double Tolerance = 2e-5;

    private static readonly DiTConfig s_config = BlockGradientTests.Config(Hidden, heads: 3, mlp: 36, side: 4, depth: 2);

    [TestCase(0.7f, 1.3f, 0.4f)]
    [TestCase(1f, 0f, 0f)]
    [TestCase(0f, 0f, 1f)]
    public void Gradients_are_those_of_differences(float blockWeight, float noiseWeight, float varianceWeight)
    {
        using var set = new StudentSet(83);
        var weights = new LossWeights(blockWeight, noiseWeight, varianceWeight);
        var expected = set.Loss();
        var loss = Train(set, weights, threads: 2);
        Assert.Multiple(() =>
        {
            Assert.That(loss.Blocks, Is.EqualTo(expected.Blocks).Within(1e-3).Percent);
            Assert.That(loss.Noise, Is.EqualTo(expected.Noise).Within(1e-3).Percent);
            Assert.That(loss.Variance, Is.EqualTo(expected.Variance).Within(1e-3).Percent);
        });
        for (var block = 0; block < 2; block++)
            for (var layer = 0; layer < TrainingBlock.LayerCount; layer++)
            {
                Compare(set.Layers[block][layer].WeightGradient, set.Weights[block][layer], $"∂W {block}.{layer}");
                Compare(set.Layers[block][layer].BiasGradient, set.Biases[block][layer], $"∂b {block}.{layer}");
            }

        void Compare(float[] actual, double[] at, string what)
        {
            var stride = (at.Length / 20) | 1;
            var differences = DoublePrecision.Differences(at, Weighted, stride);
            Assert.That(DoublePrecision.Error(actual, differences, stride), Is.LessThan(Tolerance), what);
        }

        double Weighted()
        {
            var (blocks, noise, variance) = set.Loss();
            return blockWeight * blocks + noiseWeight * noise + varianceWeight * variance;
        }
    }

    [Test]
    public void Each_layer_takes_one_step_and_evaluation_none()
    {
        using var set = new StudentSet(84);
        using var backend = CpuBackend.Create(new CpuOptions(2));
        using var final = set.Final(backend);
        using var student = new StudentGradient(backend, s_config, Compatibility.Official, Samples, final);
        var weights = new LossWeights(1, 1, 1);
        var before = student.Evaluate(set.Batch, set.Layers, weights);
        Assert.That(set.Layers.SelectMany(b => b).Select(l => l.Steps), Is.All.Zero);
        var trained = student.Train(set.Batch, set.Layers, weights);
        Assert.That(set.Layers.SelectMany(b => b).Select(l => l.Steps), Is.All.EqualTo(1));
        // Block losses are added up in another order on the way back.
        Assert.That(trained.Blocks, Is.EqualTo(before.Blocks).Within(1e-10).Percent);
        Assert.That((trained.Noise, trained.Variance), Is.EqualTo((before.Noise, before.Variance)));
        Assert.That(student.Evaluate(set.Batch, set.Layers, weights), Is.Not.EqualTo(before));
    }

    [Test]
    public void Threads_change_no_bit()
    {
        float[]? expected = null;
        foreach (var threads in new[] { 1, 2, 5 })
        {
            using var set = new StudentSet(85);
            Train(set, new LossWeights(1, 1, 1), threads);
            float[] gradients = [.. set.Layers.SelectMany(b => b).SelectMany(l => l.WeightGradient.Concat(l.BiasGradient))];
            expected ??= gradients;
            Assert.That(gradients, Is.EqualTo(expected), $"{threads} threads");
        }
    }

    [Test]
    public void Without_targets_there_is_no_loss_and_without_bias_no_gradient_of_it()
    {
        using var set = new StudentSet(86);
        var layers = set.Layers.Select(b => b.Select(l => new RecordingLayer(l.Outputs, l.Inputs, l.Weight, null)).ToArray()).ToArray();
        using var backend = CpuBackend.Create(new CpuOptions(1));
        using var student = new StudentGradient(backend, s_config, Compatibility.Official, Samples, final: null);
        var loss = student.Train(set.Batch with { BlockTargets = null, PredictionTarget = null }, layers, new LossWeights(1, 1, 1));
        Assert.That(loss, Is.EqualTo(default(StudentLoss)));
        Assert.That(layers[0][TrainingBlock.Qkv].WeightGradient, Is.All.Zero);
        Assert.That(layers[0][TrainingBlock.Qkv].BiasGradient, Is.Empty);
    }

    [Test]
    public void Batch_of_another_size_is_named()
    {
        using var set = new StudentSet(87);
        using var backend = CpuBackend.Create(new CpuOptions(1));
        using var student = new StudentGradient(backend, s_config, Compatibility.Official, Samples, final: null);
        var weights = new LossWeights(1, 0, 0);
        Assert.Multiple(() =>
        {
            Assert.That(() => student.Train(set.Batch with { Tokens = new float[5] }, set.Layers, weights), Throws.ArgumentException.With.Message.Contains("Tokens has 5 values"));
            Assert.That(() => student.Train(set.Batch with { BlockTargets = [[1], [1]], PredictionTarget = null }, set.Layers, weights), Throws.ArgumentException.With.Message.Contains("BlockTargets has 1 values"));
            Assert.That(() => student.Train(set.Batch, set.Layers, weights), Throws.ArgumentException.With.Message.Contains("no final layer"));
        });
    }

    private static StudentLoss Train(StudentSet set, LossWeights weights, int threads)
    {
        using var backend = CpuBackend.Create(new CpuOptions(threads));
        using var final = set.Final(backend);
        using var student = new StudentGradient(backend, s_config, Compatibility.Official, Samples, final);
        return student.Train(set.Batch, set.Layers, weights);
    }

    /// <summary>Two random blocks, a final layer and a batch, in fp32 and in fp64.</summary>
    private sealed class StudentSet : IDisposable
    {
        private readonly RandomWeights _random;
        private readonly DiTRuntime.Quantization.DenseWeight _final;
        private readonly double[] _finalWeight;

        public StudentSet(int seed)
        {
            _random = new RandomWeights(seed);
            Layers = [BlockGradientTests.Layers(s_config, _random), BlockGradientTests.Layers(s_config, _random)];
            Weights = [.. Layers.Select(b => Array.ConvertAll(b, l => DoublePrecision.Of(l.Weight)))];
            Biases = [.. Layers.Select(b => Array.ConvertAll(b, l => DoublePrecision.Of(l.Bias!)))];
            var width = 4 * s_config.OutChannels;
            _final = _random.Linear(width, Hidden);
            var weight = new float[width * Hidden];
            _final.CopyRows(0, width, weight);
            _finalWeight = DoublePrecision.Of(weight);
            var count = Samples * s_config.TokenCount;
            Batch = new StudentBatch(
                _random.Values(count * Hidden), _random.Values(Samples * Hidden), [_random.Values(count * Hidden), _random.Values(count * Hidden)],
                _random.Values(Samples * 2 * Hidden), _random.Values(count * width));
        }

        public RecordingLayer[][] Layers { get; }

        public double[][][] Weights { get; }

        public double[][][] Biases { get; }

        public StudentBatch Batch { get; }

        public FinalLayer Final(CpuBackend backend) => new(backend, s_config, _final, Samples);

        public (double Blocks, double Noise, double Variance) Loss()
        {
            var student = new DoubleStudent(s_config, 1e-6, Samples);
            var x = DoublePrecision.Of(Batch.Tokens);
            double blocks = 0;
            for (var block = 0; block < 2; block++)
            {
                x = student.Block(Weights[block], Biases[block], DoublePrecision.Of(Batch.Condition), x);
                blocks += DoubleStudent.MeanSquaredError(x, DoublePrecision.Of(Batch.BlockTargets![block])) / 2;
            }

            var prediction = student.Predict(_finalWeight, DoublePrecision.Of(_final.Bias!), DoublePrecision.Of(Batch.FinalModulation!), x);
            var target = DoublePrecision.Of(Batch.PredictionTarget!);
            return (blocks, student.ChannelError(prediction, target, 0, 3), student.ChannelError(prediction, target, 3, 3));
        }

        public void Dispose() => _random.Dispose();
    }
}

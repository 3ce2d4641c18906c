using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Calibration.Training;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;
using DiTRuntime.Tests.Backends;
using DiTRuntime.Tests.Backends.Training;
using DiTRuntime.Tests.Models;

namespace DiTRuntime.Tests.Calibration.Training;

/// <summary>The block forward against the published one, backward against differences in fp64.</summary>
[TestFixture]
internal sealed class BlockGradientTests
{
    private const int Samples = 2;

    /// <summary>A chain of some ten fp32 operations, each with an error of about 1e-7 of its norm; the differences are good to 1e-8.</summary>
    private const double Tolerance = 1e-5;

    [TestCase(24, 1, 96, 2)]
    [TestCase(36, 3, 100, 6)]
    [TestCase(100, 2, 52, 4)]
    public void Gradients_are_those_of_differences(int hidden, int heads, int mlp, int side)
    {
        var config = Config(hidden, heads, mlp, side);
        using var random = new RandomWeights(81);
        var layers = Layers(config, random);
        var (x, condition, dy) = (random.Values(Samples * config.TokenCount * hidden, 2), random.Values(Samples * hidden), random.Values(Samples * config.TokenCount * hidden));
        var run = Run(config, layers, x, condition, dy, threads: 2);

        var student = new DoubleStudent(config, 1e-5, Samples);
        var weights = Array.ConvertAll(layers, layer => DoublePrecision.Of(layer.Weight));
        var biases = Array.ConvertAll(layers, layer => DoublePrecision.Of(layer.Bias!));
        var (doubleX, doubleCondition, doubleDy) = (DoublePrecision.Of(x), DoublePrecision.Of(condition), DoublePrecision.Of(dy));
        Assert.That(DoublePrecision.Error(run.Output, student.Block(weights, biases, doubleCondition, doubleX)), Is.LessThan(Tolerance));
        Compare(run.InputGradient, doubleX, "∂x");
        for (var layer = 0; layer < layers.Length; layer++)
        {
            Compare(run.WeightGradients[layer], weights[layer], $"∂W {layer}");
            Compare(run.BiasGradients[layer], biases[layer], $"∂b {layer}");
        }

        void Compare(float[] actual, double[] at, string what)
        {
            // Some thirty values, spread over rows and columns.
            var stride = (at.Length / 30) | 1;
            var expected = DoublePrecision.Differences(at, () => DoublePrecision.Dot(student.Block(weights, biases, doubleCondition, doubleX), doubleDy), stride);
            Assert.That(DoublePrecision.Error(actual, expected, stride), Is.LessThan(Tolerance), what);
        }
    }

    [Test]
    public void Threads_and_vectors_change_no_bit()
    {
        var config = Config(36, 3, 100, 6);
        using var random = new RandomWeights(82);
        var layers = Layers(config, random);
        var (x, condition, dy) = (random.Values(Samples * 9 * 36), random.Values(Samples * 36), random.Values(Samples * 9 * 36));
        var expected = Run(config, layers, x, condition, dy, threads: 1).Everything();
        foreach (var (threads, bits) in new[] { (2, 0), (5, 0), (2, 256), (2, 128) })
            Assert.That(Run(config, layers, x, condition, dy, threads, bits).Everything(), Is.EqualTo(expected), $"{threads} threads, {bits} bits");
    }

    [Test]
    public void Forward_is_the_published_block()
    {
        using var backend = CpuBackend.Create(new CpuOptions(2));
        using var weights = DiTWeightsLoader.Load(Path.Combine(TestFiles.Golden("tiny"), "official.safetensors"), new DiTLoadOptions { HeadCount = 2 });
        var tokens = TinyModel.Expected.F32("forward.tokens0");
        for (var block = 0; block < 2; block++)
        {
            tokens = Forward(backend, weights, Compatibility.Official, block, tokens);
            Assert.That(Relative.Error(tokens, TinyModel.Expected.F32($"forward.block{block}")), Is.LessThan(5e-6), $"block {block}");
        }
    }

    [Test]
    public void Forward_is_the_engine_s([Values] Compatibility compatibility)
    {
        using var backend = CpuBackend.Create(new CpuOptions(2));
        using var tiny = new TinyModel(backend, compatibility: compatibility);
        using var weights = DiTWeightsLoader.Load(Path.Combine(TestFiles.Golden("tiny"), "official.safetensors"), new DiTLoadOptions { HeadCount = 2 });
        float[] before = [];
        var seen = 0;
        tiny.Forward(TinyModel.Expected.F32("forward.x"), TinyModel.Integers("forward.t"), TinyModel.Integers("forward.y"), (block, tokens) =>
        {
            var output = tiny.Read(tokens);
            if (block >= 0)
            {
                Assert.That(Relative.Error(Forward(backend, weights, compatibility, block, before), output), Is.LessThan(1e-6), $"block {block}");
                seen++;
            }

            before = output;
        });
        Assert.That(seen, Is.EqualTo(2));
    }

    [TestCase(Compatibility.Official, 1e-6)]
    [TestCase(Compatibility.Diffusers, 1e-5)]
    public void Norm_of_small_tokens_shows_the_epsilon_and_a_missing_bias_is_zero(Compatibility compatibility, double epsilon)
    {
        var config = Config(24, 1, 96, 2);
        using var random = new RandomWeights(83);
        var layers = Layers(config, random);
        // Attention adds nothing, so that the tokens reach the second norm with a variance of 3e-6.
        layers[TrainingBlock.Projection] = new RecordingLayer(24, 24, new float[24 * 24], null);
        var (x, condition) = (random.Values(Samples * 24, 3e-3f), random.Values(Samples * 24));
        var run = Run(config, layers, x, condition, x, threads: 1, compatibility: compatibility);
        var expected = new DoubleStudent(config, epsilon, Samples).Block(
            Array.ConvertAll(layers, layer => DoublePrecision.Of(layer.Weight)), Array.ConvertAll(layers, layer => DoublePrecision.Of(layer.Bias ?? new float[24])),
            DoublePrecision.Of(condition), DoublePrecision.Of(x));
        Assert.That(DoublePrecision.Error(run.Output, expected), Is.LessThan(Tolerance));
    }

    [Test]
    public void Layer_of_another_shape_is_refused()
    {
        using var backend = CpuBackend.Create(new CpuOptions(1));
        using var block = new TrainingBlock(backend, Config(24, 1, 96, 2));
        Assert.That(
            Assert.Throws<ArgumentException>(() => block.Load(TrainingBlock.Qkv, new RecordingLayer(24, 72, new float[24 * 72], null)))!.Message,
            Does.Contain("[72,24]").And.Contain("[24,72]"));
    }

    internal static DiTConfig Config(int hidden, int heads, int mlp, int side, int depth = 1) => new()
    {
        InputSize = side,
        PatchSize = 2,
        InChannels = 3,
        OutChannels = 6,
        HiddenSize = hidden,
        Depth = depth,
        HeadCount = heads,
        MlpSize = mlp,
        ClassCount = 1,
    };

    /// <summary>Five layers whose outputs are of the order of one.</summary>
    internal static RecordingLayer[] Layers(DiTConfig config, RandomWeights random)
    {
        var (h, mlp) = (config.HiddenSize, config.MlpSize);
        return [.. new[] { (6 * h, h), (3 * h, h), (h, h), (mlp, h), (h, mlp) }.Select(shape =>
            new RecordingLayer(shape.Item1, shape.Item2, random.Values(shape.Item1 * shape.Item2, 1.5f / MathF.Sqrt(shape.Item2)), random.Values(shape.Item1, 0.5f)))];
    }

    private static BlockRun Run(DiTConfig config, RecordingLayer[] layers, float[] x, float[] condition, float[] dy, int threads, int bits = 0, Compatibility compatibility = Compatibility.Diffusers)
    {
        using var backend = CpuBackend.Create(new CpuOptions(threads, bits));
        using var block = new TrainingBlock(backend, config);
        using var gradient = new BlockGradient(backend, config, compatibility, Samples);
        foreach (var (layer, source) in layers.Index())
        {
            // What another block left.
            block.Load(layer, new RecordingLayer(source.Outputs, source.Inputs, new float[source.Weight.Length], [.. Enumerable.Repeat(1f, source.Outputs)]));
            block.Load(layer, source);
        }

        using var input = Upload(backend, x, Samples, config.TokenCount, config.HiddenSize);
        using var output = Upload(backend, x, Samples, config.TokenCount, config.HiddenSize);
        using var silu = Upload(backend, condition, Samples, config.HiddenSize);
        using var tokenGradient = Upload(backend, dy, Samples, config.TokenCount, config.HiddenSize);
        gradient.Forward(block, silu, input, output);
        gradient.Backward(block, silu, input, tokenGradient);
        var weights = Array.ConvertAll(layers, layer => new float[layer.Weight.Length]);
        var biases = Array.ConvertAll(layers, layer => new float[layer.Outputs]);
        for (var layer = 0; layer < layers.Length; layer++) block.ReadGradient(layer, weights[layer], biases[layer]);
        return new BlockRun(Read(backend, output), Read(backend, tokenGradient), weights, biases);
    }

    /// <summary>One block of the golden model with the golden conditions.</summary>
    private static float[] Forward(CpuBackend backend, DiTWeights weights, Compatibility compatibility, int number, float[] tokens)
    {
        var config = weights.Config;
        var (t, y) = (TinyModel.Integers("forward.t"), TinyModel.Integers("forward.y"));
        using var blocks = new BlockStore(weights.Blocks, backend, WeightResidency.All, null);
        using var conditioner = new Conditioner(weights, backend, compatibility, blocks);
        using var table = new ModulationTable(backend, config, t.Length);
        conditioner.Fill(t, y, table);
        using var block = new TrainingBlock(backend, config);
        using var gradient = new BlockGradient(backend, config, compatibility, t.Length);
        var layers = BlockLayers.Of(weights.Blocks[number]);
        for (var layer = 0; layer < layers.Length; layer++) block.Load(layer, layers[layer]);
        using var input = Upload(backend, tokens, t.Length, config.TokenCount, config.HiddenSize);
        using var output = backend.Allocate(ElementType.F32, t.Length, config.TokenCount, config.HiddenSize);
        gradient.Forward(block, table.Condition, input, output);
        return Read(backend, output);
    }

    private static Tensor Upload(CpuBackend backend, float[] values, params ReadOnlySpan<int> shape)
    {
        var tensor = backend.Allocate(ElementType.F32, shape);
        backend.Upload<float>(values, tensor);
        return tensor;
    }

    private static float[] Read(CpuBackend backend, Tensor tensor)
    {
        var values = new float[tensor.Count];
        backend.Download<float>(tensor, values);
        return values;
    }

    private sealed record BlockRun(float[] Output, float[] InputGradient, float[][] WeightGradients, float[][] BiasGradients)
    {
        public float[] Everything() => [.. Output, .. InputGradient, .. WeightGradients.SelectMany(v => v), .. BiasGradients.SelectMany(v => v)];
    }
}

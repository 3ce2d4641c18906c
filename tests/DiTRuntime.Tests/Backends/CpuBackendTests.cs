using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Checkpoints;
using DiTRuntime.Sampling;

namespace DiTRuntime.Tests.Backends;

/// <summary>
/// Every operation of the CPU backend against the reference, at each vector width, on shapes that straddle the tile,
/// the panel and the vector; and the promise that width, threads and batch change no bit.
/// </summary>
[TestFixture]
internal sealed class CpuBackendTests
{
    private static readonly int[] s_widths = [512, 256, 128];

    /// <summary>fp32 sums against fp64 sums: a few hundred additions of random sign lose well under this.</summary>
    private const double Tolerance = 2e-6;

    [Test]
    public void Linear_matches_the_reference(
        [Values(1, 7, 8, 9, 131)] int rows, [Values(1, 15, 48, 50, 97)] int outputs, [Values(1, 3, 64, 1200)] int inputs)
    {
        using var weights = new RandomWeights(rows * 1000 + outputs);
        var weight = weights.Linear(outputs, inputs);
        var input = weights.Values(rows * inputs);
        Compare(backend =>
        {
            var x = Upload(backend, input, rows, inputs);
            var y = backend.Allocate(ElementType.F32, rows, outputs);
            backend.Linear(x, backend.Prepare(weight), Epilogue.None, y);
            return y;
        });
    }

    [Test]
    public void Activations_match_the_reference([Values] Activation activation)
    {
        using var weights = new RandomWeights(5);
        var weight = weights.Linear(53, 1, bias: false);
        // Far into both tails, where the exponential saturates.
        var input = Enumerable.Range(-60, 121).Select(i => i * 2f).ToArray();
        Compare(backend =>
        {
            var y = backend.Allocate(ElementType.F32, input.Length, 53);
            backend.Linear(Upload(backend, input, input.Length, 1), backend.Prepare(weight), Epilogue.Activate(activation), y);
            return y;
        });
    }

    [Test]
    public void Residual_and_gated_epilogues_match_the_reference([Values] bool gated, [Values(40, 96)] int outputs)
    {
        using var weights = new RandomWeights(6);
        var weight = weights.Linear(outputs, 33);
        var input = weights.Values(2 * 5 * 33);
        var before = weights.Values(2 * 5 * outputs);
        var table = weights.Values(3 * 4 * outputs);
        Compare(backend =>
        {
            var y = Upload(backend, before, 2, 5, outputs);
            var modulation = new Modulation(Upload(backend, table, 3, 4 * outputs), Upload(backend, [2, 0]));
            backend.Linear(
                Upload(backend, input, 2, 5, 33), backend.Prepare(weight), gated ? Epilogue.GatedResidual(modulation, 3) : Epilogue.Residual, y);
            return y;
        });
    }

    [Test]
    public void NormModulate_matches_the_reference([Values(1, 16, 30, 72, 288)] int width)
    {
        using var weights = new RandomWeights(7);
        var tokens = weights.Values(3 * 7 * width).Select(v => 3 * v + 5).ToArray();
        var table = weights.Values(2 * 6 * width);
        Compare(
            backend =>
            {
                var y = backend.Allocate(ElementType.F32, 3, 7, width);
                var modulation = new Modulation(Upload(backend, table, 2, 6 * width), Upload(backend, [1, 0, 1]));
                backend.NormModulate(Upload(backend, tokens, 3, 7, width), modulation, 3, 1e-6f, y);
                return y;
            },
            // The mean is subtracted from values five times as large as their spread.
            tolerance: 1e-5);
    }

    [Test]
    public void Attention_matches_the_reference([Values(1, 16, 49, 100)] int tokens, [Values(2, 32, 72)] int headSize, [Values(1, 3)] int heads)
    {
        using var weights = new RandomWeights(8);
        var width = heads * headSize;
        var qkv = weights.Values(2 * tokens * 3 * width, scale: 3);
        Compare(
            backend =>
            {
                var y = backend.Allocate(ElementType.F32, 2, tokens, width);
                backend.Attention(Upload(backend, qkv, 2, tokens, 3 * width), heads, y);
                return y;
            },
            // Scores of up to a hundred lose absolute precision before the exponential.
            tolerance: 3e-5);
    }

    [Test]
    public void Patches_match_the_reference([Values(1, 2, 4)] int patch, [Values(1, 4)] int channels)
    {
        using var weights = new RandomWeights(9);
        var side = 4 * patch;
        var weight = weights.Linear(30, channels * patch * patch);
        var latents = weights.Values(2 * channels * side * side);
        var positions = weights.Values(16 * 30);
        Compare(backend =>
        {
            var tokens = backend.Allocate(ElementType.F32, 3, 16, 30);
            backend.PatchEmbed(
                Upload(backend, latents, 2, channels, side, side), Upload(backend, [1, 0, 1]), backend.Prepare(weight), Upload(backend, positions, 16, 30), tokens);
            return tokens;
        });
        var patches = weights.Values(3 * 16 * channels * patch * patch);
        Compare(
            backend =>
            {
                var image = backend.Allocate(ElementType.F32, 3, channels, side, side);
                backend.Unpatchify(Upload(backend, patches, 3, 16, channels * patch * patch), image);
                return image;
            },
            tolerance: 0);
    }

    [Test]
    public void Condition_matches_the_reference()
    {
        using var weights = new RandomWeights(10);
        var timesteps = weights.Values(3 * 70, scale: 8);
        var table = weights.Values(5 * 70);
        Compare(backend =>
        {
            var y = backend.Allocate(ElementType.F32, 3, 70);
            backend.Condition(Upload(backend, timesteps, 3, 70), Upload(backend, table, 5, 70), Upload(backend, [4, 0, 2]), y);
            return y;
        });
    }

    [Test]
    public void Update_matches_the_reference([Values] bool guided, [Values] bool learned, [Values(8, 5)] int side)
    {
        using var weights = new RandomWeights(11);
        var prediction = weights.Values(4 * 8 * side * side);
        var latents = weights.Values(2 * 4 * side * side);
        var noise = weights.Values(2 * 4 * side * side);
        var coefficients = learned ? new UpdateCoefficients(1.1f, -0.3f, 0, true, -9.2f, -0.4f) : new UpdateCoefficients(1.1f, -0.3f, 0.25f);
        var updates = new[]
        {
            new SampleUpdate(0, 0, guided ? 1 : -1, 4, 3, coefficients),
            new SampleUpdate(1, 2, guided ? 3 : -1, 1.5f, 4, coefficients with { Latent = 0.5f }),
        };
        Compare(backend =>
        {
            var x = Upload(backend, latents, 2, 4, side, side);
            backend.GuideAndUpdate(Upload(backend, prediction, 4, 8, side, side), updates, Upload(backend, noise, 2, 4, side, side), x);
            return x;
        });
    }

    [Test]
    public void Convolution_matches_the_reference(
        [Values(1, 3)] int kernel, [Values] bool upsample, [Values] bool residual, [Values(3, 50)] int outputs, [Values(4, 33)] int inputs)
    {
        using var weights = new RandomWeights(12);
        var weight = weights.Convolution(outputs, inputs, kernel);
        int height = upsample ? 10 : 5, width = upsample ? 14 : 7;
        var input = weights.Values(2 * 5 * 7 * inputs);
        var added = weights.Values(2 * height * width * outputs);
        Compare(backend =>
        {
            var y = backend.Allocate(ElementType.F32, 2, height, width, outputs);
            var options = new ConvolutionOptions(Activation.Silu, residual ? Upload(backend, added, 2, height, width, outputs) : null, upsample);
            backend.Convolution(Upload(backend, input, 2, 5, 7, inputs), backend.Prepare(weight), options, y);
            return y;
        });
    }

    [Test]
    public void GroupNorm_matches_the_reference([Values(32, 40)] int channels, [Values(4, 8)] int groups, [Values] bool inPlace)
    {
        using var weights = new RandomWeights(13);
        var input = weights.Values(2 * 6 * 9 * channels).Select(v => v + 2).ToArray();
        var gamma = weights.Values(channels);
        var beta = weights.Values(channels);
        Compare(
            backend =>
            {
                var x = Upload(backend, input, 2, 6, 9, channels);
                var y = inPlace ? x : backend.Allocate(ElementType.F32, 2, 6, 9, channels);
                backend.GroupNorm(x, Upload(backend, gamma, channels), Upload(backend, beta, channels), new GroupNormOptions(groups, 1e-6f, Activation.Silu), y);
                return y;
            },
            tolerance: 1e-5);
    }

    [Test]
    public void Tensor_of_another_backend_is_refused()
    {
        using var one = CpuBackend.Create(new CpuOptions(1));
        using var other = CpuBackend.Create(new CpuOptions(1));
        var x = Upload(one, [1f, 2f], 1, 2);
        Assert.That(() => other.Download(x, new float[2]), Throws.ArgumentException.With.Message.Contains("belongs to another backend"));
    }

    [Test]
    public void Cancelled_work_ends()
    {
        using var weights = new RandomWeights(14);
        using var backend = CpuBackend.Create(new CpuOptions(2));
        var layer = backend.Prepare(weights.Linear(500, 8));
        backend.Cancellation = new CancellationToken(canceled: true);
        var x = backend.Allocate(ElementType.F32, 1000, 8);
        Assert.That(() => backend.Linear(x, layer, Epilogue.None, backend.Allocate(ElementType.F32, 1000, 500)), Throws.InstanceOf<OperationCanceledException>());
    }

    [Test]
    public void Weight_that_is_not_a_number_is_named()
    {
        using var weights = new RandomWeights(15);
        using var backend = CpuBackend.Create(new CpuOptions(2));
        var values = weights.Values(100 * 3);
        values[200] = float.NaN;
        var weight = new DiTRuntime.Quantization.DenseWeight("layer", [weights.Tensor("layer.weight", values, 100, 3)], null);
        Assert.That(() => backend.Prepare(weight), Throws.InstanceOf<InvalidFileException>().With.Message.Contains("layer.weight").And.Message.Contains("NaN"));
    }

    /// <summary>Runs an operation on the reference, and at every width with one thread and three: close, and all the same bits.</summary>
    private static void Compare(Func<IDiTBackend, Tensor> operation, double tolerance = Tolerance)
    {
        using var reference = new ReferenceBackend();
        var expected = Read(reference, operation(reference));
        float[]? first = null;
        foreach (var bits in s_widths)
        {
            foreach (var threads in new[] { 1, 3 })
            {
                using var backend = CpuBackend.Create(new CpuOptions(threads, bits));
                var actual = Read(backend, operation(backend));
                Assert.That(Relative.Error(actual, expected), Is.LessThanOrEqualTo(tolerance), $"{bits} bits, {threads} threads");
                first ??= actual;
                Assert.That(actual.AsSpan().SequenceEqual(first), $"{bits} bits, {threads} threads: other bits");
            }
        }
    }

    internal static Tensor Upload(IDiTBackend backend, float[] values, params int[] shape)
    {
        var tensor = backend.Allocate(ElementType.F32, shape);
        backend.Upload<float>(values, tensor);
        return tensor;
    }

    internal static Tensor Upload(IDiTBackend backend, int[] values)
    {
        var tensor = backend.Allocate(ElementType.I32, values.Length);
        backend.Upload<int>(values, tensor);
        return tensor;
    }

    internal static float[] Read(IDiTBackend backend, Tensor tensor)
    {
        var values = new float[tensor.Count];
        backend.Download<float>(tensor, values);
        return values;
    }
}

using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;
using DiTRuntime.Sampling;
using DiTRuntime.Tests.Decoding;

namespace DiTRuntime.Tests.Backends;

/// <summary>Each reference operation against values worked out by hand.</summary>
internal sealed class ReferenceOperationTests
{
    private readonly ReferenceBackend _backend = new();

    [OneTimeTearDown]
    public void Close() => _backend.Dispose();

    [Test]
    public void Prefix_shares_storage()
    {
        var whole = Floats([3, 2], 1, 2, 3, 4, 5, 6);
        var prefix = whole.Prefix(2);
        _backend.Upload<float>([9], prefix);
        Assert.That(Values(whole), Is.EqualTo(new float[] { 9, 2, 3, 4, 5, 6 }));
        Assert.That((prefix.Count, prefix.RowCount), Is.EqualTo((4, 2)));
        Assert.That(() => whole.Prefix(4), Throws.ArgumentException);
    }

    [Test]
    public void Transfers_check_type_and_length()
    {
        var tensor = Floats([2], 1, 2);
        Assert.That(() => _backend.Upload<int>([1], tensor), Throws.ArgumentException.With.Message.Contains("holds F32"));
        Assert.That(() => _backend.Upload<float>([1, 2, 3], tensor), Throws.ArgumentException.With.Message.Contains("holds 2 values, 3"));
        Assert.That(() => _backend.Download(tensor, new float[3]), Throws.ArgumentException);
        Assert.That(() => _backend.Allocate(ElementType.F16, 1), Throws.ArgumentException);
        Assert.That(() => _backend.Allocate(ElementType.F32, 2, 0), Throws.ArgumentException.With.Message.Contains("[2,0]"));
    }

    [Test]
    public void Condition_is_silu_of_the_sum()
    {
        var condition = Empty(2, 2);
        _backend.Condition(Floats([2, 2], 1, -1, 0, 2), Floats([3, 2], 0, 0, 0, 0, 1, 3), Integers(2, 0), condition);
        Assert.That(Values(condition), Is.EqualTo(new[] { Silu(2), Silu(2), 0, Silu(2) }).Within(1e-7f));
        Assert.That(
            () => _backend.Condition(Floats([1, 2], 0, 0), Floats([1, 2], 0, 0), Integers(1), Empty(1, 2)),
            Throws.ArgumentException.With.Message.Contains("labels holds 1"));
    }

    [Test]
    public void Patches_are_read_channel_by_channel()
    {
        // Two images of one 2×2 patch and two channels; each weight row picks one value of the patch.
        var layer = Layer(3, 8, [0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0], [100, 0, 0]);
        var latents = Floats([2, 2, 2, 2], [.. Enumerable.Range(0, 16)]);
        var tokens = Empty(3, 1, 3);
        _backend.PatchEmbed(latents, Integers(1, 0, 1), layer, Floats([1, 3], 0, 1000, 0), tokens);
        Assert.That(Values(tokens), Is.EqualTo(new float[] { 115, 1009, 10, 107, 1001, 2, 115, 1009, 10 }));
    }

    [Test]
    public void Unpatchify_puts_channels_last_in_a_token()
    {
        // Token 1 is the upper right patch; its features run over (p, q, c).
        var patches = Floats([1, 4, 8], [.. Enumerable.Range(0, 32)]);
        var output = Empty(1, 2, 4, 4);
        _backend.Unpatchify(patches, output);
        var values = Values(output);
        Assert.That(values[..4], Is.EqualTo(new float[] { 0, 2, 8, 10 }), "channel 0, row 0");
        Assert.That(values[4..8], Is.EqualTo(new float[] { 4, 6, 12, 14 }), "channel 0, row 1");
        Assert.That(values[16..20], Is.EqualTo(new float[] { 1, 3, 9, 11 }), "channel 1, row 0");
        Assert.That(values[8..12], Is.EqualTo(new float[] { 16, 18, 24, 26 }), "channel 0, row 2");
    }

    [Test]
    public void Norm_takes_shift_and_scale_of_the_samples_row()
    {
        var table = Floats([2, 6], 0, 0, 0, 0, 0, 0, 7, 7, 10, 20, 1, 3);
        var output = Empty(2, 1, 2);
        _backend.NormModulate(Floats([2, 1, 2], 1, 3, 5, 1), new Modulation(table, Integers(1, 0)), 1, 0, output);
        Assert.That(Values(output), Is.EqualTo(new float[] { 10 - 2, 20 + 4, 1, -1 }).Within(1e-6f));
        _backend.NormModulate(Floats([2, 1, 2], 1, 3, 5, 1), new Modulation(table, Integers(0, 0)), 0, 3, output);
        Assert.That(Values(output)[0], Is.EqualTo(-0.5f).Within(1e-7f), "(1 − 2)/√(1 + 3)");
    }

    [Test]
    public void Linear_epilogues()
    {
        var layer = Layer(2, 2, [1, 2, -3, 4], [10, -10]);
        var input = Floats([1, 2, 2], 1, 1, 2, -1);
        float[] product = [13, -9, 10, -20];

        var output = Empty(1, 2, 2);
        _backend.Linear(input, layer, Epilogue.None, output);
        Assert.That(Values(output), Is.EqualTo(product));
        _backend.Linear(input, layer, Epilogue.Residual, output);
        Assert.That(Values(output), Is.EqualTo(product.Select(v => 2 * v)));
        _backend.Linear(input, layer, Epilogue.Activate(Activation.Relu), output);
        Assert.That(Values(output), Is.EqualTo(new float[] { 13, 0, 10, 0 }));
        _backend.Linear(input, layer, Epilogue.GatedResidual(new Modulation(Floats([1, 4], 9, 9, 0.5f, -1), Integers(0)), 1), output);
        Assert.That(Values(output), Is.EqualTo(new[] { 13 + 6.5f, 9, 15, 20 }));
    }

    [Test]
    public void Gelu_follows_the_tanh_formula()
    {
        var output = Empty(1, 1);
        _backend.Linear(Floats([1, 1], 1), Layer(1, 1, [1], null), Epilogue.Activate(Activation.GeluTanh), output);
        Assert.That(Values(output)[0], Is.EqualTo(0.841192f).Within(1e-6f));
    }

    [Test]
    public void Attention_weighs_values_by_head()
    {
        // Head size 1: scores are q·k. Head 0 scores ln 3 apart, head 1 not at all.
        var ln3 = MathF.Log(3);
        var qkv = Floats([1, 2, 6], 1, 0, ln3, 5, 8, 2, 0, 0, 0, 7, 4, 6);
        var output = Empty(1, 2, 2);
        _backend.Attention(qkv, 2, output);
        Assert.That(Values(output), Is.EqualTo(new float[] { 7, 4, 6, 4 }).Within(1e-6f));

        // Head size 4 divides the score by two; large scores do not overflow.
        qkv = Floats([1, 2, 12], [1000, 0, 0, 0, 2 * ln3 / 1000, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0]);
        output = Empty(1, 2, 4);
        _backend.Attention(qkv, 1, output);
        Assert.That(Values(output)[0], Is.EqualTo(7f).Within(1e-5f));
    }

    [TestCase(true)]
    [TestCase(false)]
    public void Convolution_pads_with_zeros_and_reads_upsampled(bool upsamples)
    {
        // One channel in, two out: a sum over the neighbourhood, and the pixel to the left.
        var layer = Kernel([1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0], [0.5f, 0], 2, 1, 3);
        var input = upsamples ? Floats([1, 1, 2, 1], 1, 2) : Floats([1, 2, 4, 1], 1, 1, 2, 2, 1, 1, 2, 2);
        var output = Empty(1, 2, 4, 2);
        _backend.Convolution(input, layer, new ConvolutionOptions(UpsamplesInput: upsamples), output);
        Assert.That(Values(output), Is.EqualTo(new[] { 4.5f, 0, 8.5f, 1, 10.5f, 1, 8.5f, 2, 4.5f, 0, 8.5f, 1, 10.5f, 1, 8.5f, 2 }));
    }

    [Test]
    public void Convolution_adds_the_residual_before_the_activation_also_in_place()
    {
        var layer = Kernel([2, -1], null, 1, 2, 1);
        var output = Floats([1, 1, 2, 1], 5, -9);
        _backend.Convolution(Floats([1, 1, 2, 2], 1, 2, 3, 1), layer, new ConvolutionOptions(Activation.Relu, output), output);
        Assert.That(Values(output), Is.EqualTo(new float[] { 5, 0 }));
    }

    [Test]
    public void Group_norm_pools_positions_and_channels_of_a_group()
    {
        // Two groups of two channels over two positions; in place.
        var x = Floats([1, 1, 2, 4], 1, 3, 10, 10, 1, 3, 10, 10);
        _backend.GroupNorm(x, Floats([4], 1, 2, 1, 1), Floats([4], 0, 1, 0, -4), new GroupNormOptions(2, 3), x);
        Assert.That(Values(x), Is.EqualTo(new[] { -0.5f, 2, 0, -4, -0.5f, 2, 0, -4 }).Within(1e-7f), "variances 1 and 0, epsilon 3");
        _backend.GroupNorm(x, Floats([4], 0, 0, 0, 0), Floats([4], 2, 2, 2, -1), new GroupNormOptions(1, 1, Activation.Silu), x);
        Assert.That(Values(x)[2..4], Is.EqualTo(new[] { Silu(2), Silu(-1) }).Within(1e-7f));
    }

    [Test]
    public void Guidance_leaves_the_other_channels_alone()
    {
        // One pixel, two channels; row 0 is conditional, row 1 is not.
        var prediction = Floats([2, 2, 1, 1], 3, 5, 1, 4);
        var latents = Floats([2, 2, 1, 1], 0, 0, 10, 20);
        SampleUpdate[] updates = [new(1, 0, 1, 4, 1, new UpdateCoefficients(2, 0.5f))];
        _backend.GuideAndUpdate(prediction, updates, null, latents);
        Assert.That(Values(latents), Is.EqualTo(new[] { 0, 0, 20 + 0.5f * 9, 40 + 2.5f }));
        _backend.GuideAndUpdate(prediction, [new(0, 1, -1, 4, 2, new UpdateCoefficients(1, 1))], null, latents);
        Assert.That(Values(latents)[..2], Is.EqualTo(new float[] { 1, 4 }), "no unconditional row, no guidance");
    }

    [Test]
    public void Noise_is_scaled_by_the_fixed_or_the_learned_deviation()
    {
        // Variance fractions −1, 1 and 0 are the lower end, the upper end and the middle.
        var prediction = Floats([1, 6, 1, 1], 0, 0, 0, -1, 1, 0);
        var noise = Floats([1, 3, 1, 1], 1, 1, -1);
        var latents = Empty(1, 3, 1, 1);
        var (min, max) = (2 * MathF.Log(2), 2 * MathF.Log(8));
        _backend.GuideAndUpdate(prediction, [new(0, 0, -1, 1, 3, new UpdateCoefficients(0, 0, 0, true, min, max))], noise, latents);
        Assert.That(Values(latents), Is.EqualTo(new float[] { 2, 8, -4 }).Within(1e-5f));
        _backend.GuideAndUpdate(prediction, [new(0, 0, -1, 1, 3, new UpdateCoefficients(0, 0, 0.5f))], noise, latents);
        Assert.That(Values(latents), Is.EqualTo(new[] { 0.5f, 0.5f, -0.5f }));
    }

    [Test]
    public void Cancelled_token_ends_an_operation()
    {
        using var backend = new ReferenceBackend();
        using var source = new CancellationTokenSource();
        source.Cancel();
        backend.Cancellation = source.Token;
        var qkv = backend.Allocate(ElementType.F32, 1, 1, 3);
        var output = backend.Allocate(ElementType.F32, 1, 1, 1);
        Assert.That(() => backend.Attention(qkv, 1, output), Throws.InstanceOf<OperationCanceledException>());
    }

    [Test]
    public void Weights_that_are_no_numbers_are_refused()
    {
        using var checkpoint = new TestCheckpoint([new TestTensor("w", [1, 2], [1, float.PositiveInfinity])]);
        Assert.That(
            () => _backend.Prepare(new DenseWeight("layer", [checkpoint["w"]], null)),
            Throws.InstanceOf<InvalidFileException>().With.Message.Contains("tensor w holds"));
        Assert.That(
            () => _backend.Prepare(new ConvolutionWeight("layer", checkpoint["w"], null)),
            Throws.InstanceOf<InvalidFileException>().With.Message.Contains("tensor w holds"));
    }

    private static float Silu(double x) => (float)(x / (1 + Math.Exp(-x)));

    private PreparedLinear Layer(int outputs, int inputs, float[] weight, float[]? bias)
    {
        using var checkpoint = new TestCheckpoint([new TestTensor("layer.weight", [outputs, inputs], weight)]);
        return _backend.Prepare(new DenseWeight("layer", [checkpoint["layer.weight"]], bias));
    }

    private PreparedConvolution Kernel(float[] weight, float[]? bias, int outputs, int inputs, int size)
    {
        using var checkpoint = new TestCheckpoint([new TestTensor("kernel.weight", [outputs, inputs, size, size], weight)]);
        return _backend.Prepare(new ConvolutionWeight("kernel", checkpoint["kernel.weight"], bias));
    }

    private Tensor Empty(params int[] shape) => _backend.Allocate(ElementType.F32, shape);

    private Tensor Floats(int[] shape, params float[] values)
    {
        var tensor = _backend.Allocate(ElementType.F32, shape);
        Assert.That(values, Has.Length.EqualTo(tensor.Count));
        _backend.Upload<float>(values, tensor);
        return tensor;
    }

    private Tensor Integers(params int[] values)
    {
        var tensor = _backend.Allocate(ElementType.I32, values.Length);
        _backend.Upload<int>(values, tensor);
        return tensor;
    }

    private float[] Values(Tensor tensor)
    {
        var values = new float[tensor.Count];
        _backend.Download(tensor, values);
        return values;
    }
}

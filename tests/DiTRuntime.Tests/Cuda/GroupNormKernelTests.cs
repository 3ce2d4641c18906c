using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Checkpoints;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Tests.Backends;

namespace DiTRuntime.Tests.Cuda;

[Category(TestDevice.Category)]
internal sealed class GroupNormKernelTests
{
    private const float Epsilon = 1e-6f;
    private readonly ReferenceBackend _reference = new();
    private readonly RandomWeights _random = new(42);

    [OneTimeTearDown]
    public void Close()
    {
        _reference.Dispose();
        _random.Dispose();
    }

    // Groups inside a 16-byte part and across several; channels that leave padding and idle threads; one slab and many; slabs longer than what a
    // thread loads at once, the last one ragged.
    [TestCase(2, 60, 20, 5, Activation.None)]
    [TestCase(1, 700, 12, 12, Activation.Silu)]
    [TestCase(2, 301, 128, 32, Activation.Silu)]
    [TestCase(1, 97, 48, 1, Activation.Silu)]
    [TestCase(1, 1100, 2048, 64, Activation.None)]
    public void Matches_the_reference(int samples, int pixels, int channels, int groups, Activation activation)
    {
        var input = HalfValues.Rounded(_random.Values(samples * pixels * channels, scale: 3));
        Compare(input, samples, pixels, channels, groups, activation, absolute: 3e-6);
    }

    [Test]
    public void A_large_mean_does_not_cancel()
    {
        // Values 1000 ± 2, on the grid of f16 there (0.5). A sum of squares in fp32 would keep no digit of the variance 1.3.
        var input = HalfValues.Rounded(Array.ConvertAll(_random.Values(2 * 600 * 32, scale: 2), v => 1000 + v));
        Compare(input, 2, 600, 32, 4, Activation.None, absolute: 2e-4);
    }

    [Test]
    public void A_constant_group_becomes_beta()
    {
        var input = new float[64 * 16];
        Array.Fill(input, 7);
        var (gamma, beta) = (_random.Values(16), HalfValues.Rounded(_random.Values(16)));
        var output = Run(input, gamma, beta, 1, 64, 16, 4, Activation.None);
        for (var i = 0; i < output.Length; i++) Assert.That(output[i], Is.EqualTo(beta[i % 16]));
    }

    [Test]
    public void An_image_is_the_same_alone_and_in_a_batch()
    {
        const int pixels = 200, channels = 128;
        var input = HalfValues.Rounded(_random.Values(5 * pixels * channels));
        var (gamma, beta) = (_random.Values(channels), _random.Values(channels));
        var batch = Run(input, gamma, beta, 5, pixels, channels, 32, Activation.Silu);
        var alone = Run(input[(3 * pixels * channels)..(4 * pixels * channels)], gamma, beta, 1, pixels, channels, 32, Activation.Silu);
        Assert.That(alone, Is.EqualTo(batch[(3 * pixels * channels)..(4 * pixels * channels)]));
    }

    [Test]
    public void Groups_that_do_not_divide_the_channels_are_refused()
    {
        var kernel = new GroupNormKernel(TestDevice.Library);
        var launch = new GroupNormLaunch(default, default, default, default, default, 1, 1, 30, 4, Epsilon, Activation.None);
        Assert.That(() => kernel.Launch(TestDevice.Stream, launch), Throws.ArgumentException.With.Message.Contains("30 channels in 4 groups"));
    }

    private void Compare(float[] input, int samples, int pixels, int channels, int groups, Activation activation, double absolute)
    {
        var (gamma, beta) = (_random.Values(channels), _random.Values(channels));
        using var x = _reference.Allocate(ElementType.F32, samples, pixels, 1, channels);
        using var g = _reference.Allocate(ElementType.F32, channels);
        using var b = _reference.Allocate(ElementType.F32, channels);
        _reference.Upload<float>(input, x);
        _reference.Upload<float>(gamma, g);
        _reference.Upload<float>(beta, b);
        _reference.GroupNorm(x, g, b, new GroupNormOptions(groups, Epsilon, activation), x);
        var expected = new float[x.Count];
        _reference.Download<float>(x, expected);
        HalfValues.AssertClose(Run(input, gamma, beta, samples, pixels, channels, groups, activation), expected, absolute);
    }

    /// <summary>In place.</summary>
    private static float[] Run(float[] input, float[] gamma, float[] beta, int samples, int pixels, int channels, int groups, Activation activation)
    {
        using var x = TestDevice.UploadHalf(HalfValues.Padded(input, channels));
        using var g = TestDevice.Upload<float>(gamma);
        using var b = TestDevice.Upload<float>(beta);
        using var scratch = TestDevice.Device.Allocate(GroupNormKernel.ScratchBytes(samples, pixels, channels, groups));
        new GroupNormKernel(TestDevice.Library).Launch(TestDevice.Stream, new GroupNormLaunch(
            x.Pointer, g.Pointer, b.Pointer, scratch.Pointer, x.Pointer, samples, pixels, channels, groups, Epsilon, activation));
        return HalfValues.Unpadded(TestDevice.DownloadHalf(x, samples * pixels * HalfValues.Stride(channels)), channels);
    }
}

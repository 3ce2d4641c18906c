using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Checkpoints;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Tests.Backends;

namespace DiTRuntime.Tests.Cuda;

[Category(TestDevice.Category)]
internal sealed class ConvolutionKernelTests
{
    private readonly ReferenceBackend _reference = new();
    private readonly RandomWeights _random = new(41);

    [OneTimeTearDown]
    public void Close()
    {
        _reference.Dispose();
        _random.Dispose();
    }

    // Pixels and channels beyond one tile and no multiple of it, taps over every border, more chunks of depth than stages.
    [TestCase("small", 2, 9, 7, 40, 72, 3, false, Activation.None, true)]
    // Fewer chunks than stages, padding inside the last part of a pixel, read upsampled.
    [TestCase("small", 2, 6, 14, 20, 24, 3, true, Activation.Silu, false)]
    [TestCase("small", 1, 8, 9, 20, 24, 1, false, Activation.Silu, true)]
    // A latent's and an image's few channels.
    [TestCase("thin", 1, 13, 11, 4, 3, 3, false, Activation.Relu, true)]
    [TestCase("thin", 3, 5, 9, 64, 16, 5, false, Activation.GeluTanh, false)]
    [TestCase("large", 1, 12, 13, 96, 136, 3, false, Activation.None, false)]
    public void Matches_the_reference(
        string tile, int samples, int height, int width, int inputs, int outputs, int kernelSize, bool upsamples, Activation activation, bool adds)
    {
        var weight = Weight(outputs, inputs, kernelSize);
        var factor = upsamples ? 2 : 1;
        var input = HalfValues.Rounded(_random.Values(samples * height / factor * width / factor * inputs));
        var residual = adds ? HalfValues.Rounded(_random.Values(samples * height * width * outputs)) : null;

        var expected = Expected(weight, input, residual, samples, height, width, upsamples, activation);
        var actual = Run(weight, input, residual, samples, height, width, upsamples, activation, Tile(tile));
        // Sums of up to 1600 products in fp32, of size 1 each at most; they stay well below 100.
        HalfValues.AssertClose(actual, expected, absolute: 2e-5);
    }

    [Test]
    public void An_image_and_a_tile_do_not_change_a_bit()
    {
        const int samples = 5, height = 5, width = 6, inputs = 40, outputs = 72;
        var weight = Weight(outputs, inputs, 3);
        var input = HalfValues.Rounded(_random.Values(samples * height * width * inputs));
        var batch = Run(weight, input, null, samples, height, width, false, Activation.None, ConvolutionTile.Small);
        const int third = 3 * height * width;
        var alone = Run(weight, input[(third * inputs)..(third / 3 * 4 * inputs)], null, 1, height, width, false, Activation.None, ConvolutionTile.Small);
        Assert.That(alone, Is.EqualTo(batch[(third * outputs)..(third / 3 * 4 * outputs)]));
        Assert.That(Run(weight, input, null, samples, height, width, false, Activation.None, ConvolutionTile.Large), Is.EqualTo(batch));
    }

    [Test]
    public void A_weight_beyond_f16_is_refused_with_file_and_layer()
    {
        var weight = new ConvolutionWeight("decoder.conv_in", _random.Tensor("w", [1, -70000], 1, 2, 1, 1), null);
        Assert.That(() => ConvolutionPacker.Pack(weight), Throws.TypeOf<InvalidFileException>().With.Message.Contains("decoder.conv_in holds the weight -70000"));
        var even = new ConvolutionWeight("conv", _random.Tensor("w", new float[4], 1, 1, 2, 2), null);
        Assert.That(() => ConvolutionPacker.Pack(even), Throws.ArgumentException);
    }

    [TestCase(32 * 32, 512, "small")]
    [TestCase(64 * 64, 512, "small")]
    [TestCase(128 * 128, 512, "large")]
    [TestCase(512 * 512, 64, "small")]
    [TestCase(512 * 512, 3, "thin")]
    public void The_tile_follows_from_the_shape(int pixels, int channels, string expected) =>
        Assert.That(ConvolutionTile.For(pixels, channels, multiprocessorCount: 132), Is.EqualTo(Tile(expected)));

    private static ConvolutionTile Tile(string name) =>
        name switch { "small" => ConvolutionTile.Small, "thin" => ConvolutionTile.Thin, _ => ConvolutionTile.Large };

    private ConvolutionWeight Weight(int outputs, int inputs, int kernelSize) => new(
        "conv",
        _random.Tensor("conv.weight", HalfValues.Rounded(_random.Values(outputs * inputs * kernelSize * kernelSize)), outputs, inputs, kernelSize, kernelSize),
        _random.Values(outputs));

    private float[] Expected(
        ConvolutionWeight weight, float[] input, float[]? residual, int samples, int height, int width, bool upsamples, Activation activation)
    {
        var factor = upsamples ? 2 : 1;
        using var layer = _reference.Prepare(weight);
        using var x = _reference.Allocate(ElementType.F32, samples, height / factor, width / factor, weight.Inputs);
        using var y = _reference.Allocate(ElementType.F32, samples, height, width, weight.Outputs);
        _reference.Upload<float>(input, x);
        if (residual is not null) _reference.Upload<float>(residual, y);
        _reference.Convolution(x, layer, new ConvolutionOptions(activation, residual is null ? null : y, upsamples), y);
        var values = new float[y.Count];
        _reference.Download<float>(y, values);
        return values;
    }

    /// <summary>On the device; a residual is the output itself.</summary>
    private static float[] Run(
        ConvolutionWeight weight, float[] input, float[]? residual, int samples, int height, int width, bool upsamples, Activation activation, ConvolutionTile tile)
    {
        var packed = ConvolutionPacker.Pack(weight);
        using var layer = new CudaConvolution(packed, TestDevice.Upload<byte>(packed.Bytes));
        using var x = TestDevice.UploadHalf(HalfValues.Padded(input, weight.Inputs));
        var count = samples * height * width * HalfValues.Stride(weight.Outputs);
        using var y = residual is null ? TestDevice.Device.Allocate(2L * count) : TestDevice.UploadHalf(HalfValues.Padded(residual, weight.Outputs));
        new ConvolutionKernel(TestDevice.Library).Launch(TestDevice.Stream, new ConvolutionLaunch(layer, x.Pointer, y.Pointer, samples, height, width)
        {
            Residual = residual is null ? DevicePointer.Null : y.Pointer,
            Activation = activation,
            UpsamplesInput = upsamples,
            Tile = tile,
        });
        return HalfValues.Unpadded(TestDevice.DownloadHalf(y, count), weight.Outputs);
    }
}

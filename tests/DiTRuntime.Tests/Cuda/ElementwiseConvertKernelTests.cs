using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Tests.Backends;

namespace DiTRuntime.Tests.Cuda;

internal sealed class ElementwiseConvertKernelTests
{
    private readonly ElementwiseConvertKernel _kernel = new(TestDevice.Library);
    private readonly RandomWeights _random = new(44);

    [OneTimeTearDown]
    public void Close() => _random.Dispose();

    [Test]
    public void Rows_go_to_halves_and_back()
    {
        const int rows = 103, columns = 5, stride = 8;
        var values = _random.Values(rows * columns, scale: 100);
        values[7] = 1e6f;
        values[8] = 1e-6f;
        using var floats = TestDevice.Upload<float>(values);
        using var halves = TestDevice.Zeroed(2 * rows * stride);
        using var back = TestDevice.Device.Allocate(4 * rows * columns);
        _kernel.Launch(TestDevice.Stream, ElementwiseConvertLaunch.Rows(floats.Pointer, false, columns, halves.Pointer, true, stride, rows, columns));
        _kernel.Launch(TestDevice.Stream, ElementwiseConvertLaunch.Rows(halves.Pointer, true, stride, back.Pointer, false, columns, rows, columns));

        var expected = HalfValues.Rounded(values);
        Assert.That(TestDevice.Download<float>(back, values.Length), Is.EqualTo(expected));
        var stored = TestDevice.DownloadHalf(halves, rows * stride);
        for (var i = 0; i < stored.Length; i++) Assert.That(stored[i], Is.EqualTo(i % stride < columns ? expected[i / stride * columns + i % stride] : 0));
    }

    [Test]
    public void Planes_become_pixels()
    {
        const int batch = 2, channels = 4, pixels = 77;
        var values = HalfValues.Rounded(_random.Values(batch * channels * pixels));
        using var planes = TestDevice.Upload<float>(values);
        using var images = TestDevice.Zeroed(2 * batch * pixels * 8);
        _kernel.Launch(TestDevice.Stream, ElementwiseConvertLaunch.PlanesToPixels(planes.Pointer, images.Pointer, batch, channels, pixels));
        var actual = HalfValues.Unpadded(TestDevice.DownloadHalf(images, batch * pixels * 8), channels);
        for (var i = 0; i < actual.Length; i++)
            Assert.That(actual[i], Is.EqualTo(values[(i / (channels * pixels) * channels + i % channels) * pixels + i / channels % pixels]));
    }
}

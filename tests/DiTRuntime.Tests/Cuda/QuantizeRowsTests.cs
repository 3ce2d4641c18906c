using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Quantization;

namespace DiTRuntime.Tests.Cuda;

/// <summary>quantize_rows_kernel against <see cref="ActivationQuantizer"/>.</summary>
[Category(TestDevice.Category)]
public sealed class QuantizeRowsTests
{
    // Per row; ragged last group; groups in pairs of lanes and in single lanes; groups of no multiple of 8; several warps a row, the last with less.
    [TestCase(64, 0, 1)]
    [TestCase(200, 64, 7)]
    [TestCase(288, 32, 33)]
    [TestCase(1152, 72, 7)]
    [TestCase(1152, 96, 33)]
    [TestCase(168, 36, 7)]
    [TestCase(2624, 128, 7)]
    [TestCase(4608, 0, 2)]
    public void Codes_scales_and_corrections_match(int width, int group, int rows)
    {
        var (input, values) = Halves(rows * width, 1);
        using var output = Quantize(input, rows, width, new ActivationFormat(group));
        output.Check(values, 1e-7);
        input.Dispose();
    }

    [Test]
    public void Ranges_can_be_fixed()
    {
        var format = new ActivationFormat(72) { StaticScales = [0.01f, 0.02f, 0.03f, 0.04f], StaticZeros = [0, 255, 128, 100] };
        var (input, values) = Halves(7 * 288, 2);
        using var output = Quantize(input, 7, 288, format);
        output.Check(values, 0);
        input.Dispose();
    }

    [Test]
    public void Rows_of_zeros_and_of_one_sign_are_exact()
    {
        var values = new float[3 * 64];
        for (var i = 0; i < 64; i++) (values[64 + i], values[128 + i]) = (i + 1, -1 - i);
        using var input = TestDevice.UploadHalf(values);
        using var output = Quantize(input, 3, 64, new ActivationFormat(0));
        output.Check(values, 1e-7);
    }

    [TestCase(100, 0, "multiple of 8")]
    [TestCase(64, 6, "multiple of 4")]
    [TestCase(8192, 0, "at most 6144")]
    public void Rows_it_cannot_take_are_refused(int width, int group, string message) =>
        Assert.That(() => QuantizeRowsKernel.Spec(width, new ActivationFormat(group)), Throws.InstanceOf<GpuUnavailableException>().With.Message.Contains(message));

    private static QuantizedRows Quantize(GpuBuffer input, int rows, int width, ActivationFormat format)
    {
        var output = new QuantizedRows(rows, width, format);
        new QuantizeRowsKernel(TestDevice.Library).Launch(TestDevice.Stream, input.Pointer, rows, width, output.Device, format);
        return output;
    }

    private static (GpuBuffer Buffer, float[] Values) Halves(int count, int seed)
    {
        var values = Array.ConvertAll(Gaussian.Values(count, seed), v => (float)(Half)v);
        return (TestDevice.UploadHalf(values), values);
    }
}

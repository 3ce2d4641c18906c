using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Tests.Quantization;

namespace DiTRuntime.Tests.Cuda;

/// <summary>condition_kernel and timestep_features_kernel against the formulas in double precision.</summary>
[Category(TestDevice.Category)]
public sealed class ConditionTests
{
    [Test]
    public void Condition_is_silu_of_the_sum()
    {
        const int Hidden = 64, Rows = 7;
        var embedding = Array.ConvertAll(Gaussian.Values(Rows * Hidden, 1), v => (float)(Half)(4 * v));
        var table = Gaussian.Values(11 * Hidden, 2);
        int[] labels = [10, 0, 3, 3, 7, 10, 1];
        (embedding[0], embedding[1], embedding[2]) = (60000, -60000, -100);
        using var embeddingBuffer = TestDevice.UploadHalf(embedding);
        using var tableBuffer = TestDevice.Upload<float>(table);
        using var labelBuffer = TestDevice.Upload<int>(labels);
        using var output = TestDevice.Device.Allocate(Rows * Hidden * 2);
        new ConditionKernel(TestDevice.Library).Launch(TestDevice.Stream, embeddingBuffer.Pointer, tableBuffer.Pointer, labelBuffer.Pointer, Rows, Hidden, output.Pointer);

        var actual = TestDevice.DownloadHalf(output, Rows * Hidden);
        for (var i = 0; i < actual.Length; i++)
        {
            var x = (double)embedding[i] + table[labels[i / Hidden] * Hidden + i % Hidden];
            var expected = x / (1 + Math.Exp(-x));
            Assert.That(actual[i], Is.EqualTo(expected).Within(Math.Abs(expected) * 5e-4 + 1e-7), $"value {i}");
        }
    }

    [Test]
    public void Features_are_cosines_and_sines_of_every_timestep()
    {
        const int Half = 128, Rows = 1000;
        var frequencies = Enumerable.Range(0, Half).Select(i => MathF.Exp(-MathF.Log(10000) * i / Half)).ToArray();
        using var timestepBuffer = TestDevice.Upload<int>([.. Enumerable.Range(0, Rows)]);
        using var frequencyBuffer = TestDevice.Upload<float>(frequencies);
        using var output = TestDevice.Device.Allocate(Rows * 2 * Half * 2);
        new TimestepFeaturesKernel(TestDevice.Library).Launch(TestDevice.Stream, timestepBuffer.Pointer, frequencyBuffer.Pointer, Rows, Half, output.Pointer);

        // Half an ulp of a half is 2.4e-4 below one; the sine itself is within 1e-6.
        var actual = TestDevice.DownloadHalf(output, Rows * 2 * Half);
        for (var row = 0; row < Rows; row++)
            for (var i = 0; i < Half; i++)
            {
                var (sine, cosine) = Math.SinCos(row * frequencies[i]);
                Assert.That(actual[row * 2 * Half + i], Is.EqualTo(cosine).Within(Math.Abs(cosine) * 4.9e-4 + 1e-6), $"cosine {i} of {row}");
                Assert.That(actual[row * 2 * Half + Half + i], Is.EqualTo(sine).Within(Math.Abs(sine) * 4.9e-4 + 1e-6), $"sine {i} of {row}");
            }
    }

    [Test]
    public void Widths_they_cannot_take_are_refused()
    {
        Assert.That(() => ConditionKernel.Spec(36), Throws.InstanceOf<GpuUnavailableException>().With.Message.Contains("not 36"));
        Assert.That(() => TimestepFeaturesKernel.Spec(126), Throws.InstanceOf<GpuUnavailableException>().With.Message.Contains("not 252"));
    }
}

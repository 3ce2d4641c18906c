using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Checkpoints;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Quantization;

namespace DiTRuntime.Tests.Cuda;

/// <summary>norm_modulate_kernel against the reference backend.</summary>
[Category(TestDevice.Category)]
public sealed class NormModulateTests
{
    private const int TableRows = 5;
    private const int Chunks = 4;
    private const int ShiftChunk = 1;
    private const float Epsilon = 1e-6f;

    // Half a warp, a ragged round, the width of DiT-XL/2, and one row of one sample.
    [TestCase(64, 33, 3)]
    [TestCase(288, 7, 7)]
    [TestCase(1152, 33, 11)]
    [TestCase(1152, 1, 1)]
    public void Halves_match(int hidden, int rows, int tokensPerSample)
    {
        using var data = new Data(hidden, rows, tokensPerSample);
        using var output = TestDevice.Device.Allocate(rows * hidden * 2);
        new NormModulateKernel(TestDevice.Library).Launch(TestDevice.Stream, data.Input, output.Pointer);
        var actual = TestDevice.DownloadHalf(output, rows * hidden);

        // A half has 11 bits; the statistics are fp32.
        for (var i = 0; i < actual.Length; i++) Assert.That(actual[i], Is.EqualTo(data.Expected[i]).Within(Math.Abs(data.Expected[i]) * 5e-4 + 1e-5), $"value {i}");
    }

    [TestCase(64, 32, 7, 7)]
    [TestCase(288, 0, 33, 3)]
    [TestCase(288, 64, 7, 7)]
    [TestCase(1152, 72, 7, 7)]
    [TestCase(1152, 128, 33, 11)]
    [TestCase(1152, 144, 7, 7)]
    [TestCase(1152, 288, 7, 7)]
    [TestCase(288, 36, 1, 1)]
    public void Codes_match(int hidden, int group, int rows, int tokensPerSample)
    {
        using var data = new Data(hidden, rows, tokensPerSample);
        using var output = Quantize(data, new ActivationFormat(group));
        output.Check(data.Expected, 1e-5);
    }

    [Test]
    public void Ranges_can_be_fixed()
    {
        using var data = new Data(64, 7, 7);
        using var output = Quantize(data, new ActivationFormat(32) { StaticScales = [0.02f, 0.05f], StaticZeros = [128, 90] });
        output.Check(data.Expected, 0);
    }

    [Test]
    public void A_row_has_the_same_bits_alone()
    {
        using var data = new Data(288, 33, 3);
        using var all = TestDevice.Device.Allocate(33 * 288 * 2);
        using var alone = TestDevice.Device.Allocate(288 * 2);
        var kernel = new NormModulateKernel(TestDevice.Library);
        kernel.Launch(TestDevice.Stream, data.Input, all.Pointer);

        // Row 13 is of sample 4: one sample, whose table row is the fifth of the step's.
        var modulation = data.Input.Modulation;
        using var step = TestDevice.Upload<int>([0]);
        modulation.Rows += 4 * (11 + 4);
        (modulation.Step, modulation.SampleCount) = (step.Pointer, 1);
        kernel.Launch(TestDevice.Stream, data.Input with { Tokens = data.Input.Tokens + 13 * 288 * 2, Rows = 1, TokensPerSample = 1, Modulation = modulation }, alone.Pointer);
        Assert.That(TestDevice.Download<Half>(alone, 288), Is.EqualTo(TestDevice.Download<Half>(all, 33 * 288)[(13 * 288)..(14 * 288)]));
    }

    [Test]
    public void Widths_it_cannot_take_are_refused()
    {
        Assert.That(() => NormModulateKernel.Spec(100, null), Throws.InstanceOf<GpuUnavailableException>().With.Message.Contains("multiple of 8 values, not 100"));
        Assert.That(() => NormModulateKernel.Spec(4104, null), Throws.InstanceOf<GpuUnavailableException>().With.Message.Contains("at most 4096"));
        Assert.That(() => NormModulateKernel.Spec(64, new ActivationFormat(6)), Throws.InstanceOf<GpuUnavailableException>().With.Message.Contains("multiple of 4"));
    }

    private static QuantizedRows Quantize(Data data, ActivationFormat format)
    {
        var output = new QuantizedRows(data.Input.Rows, data.Input.Hidden, format);
        new NormModulateKernel(TestDevice.Library).Launch(TestDevice.Stream, data.Input, output.Device, format);
        return output;
    }

    /// <summary>Tokens with a mean, a table, two steps of which the second is current, and what the reference makes of them.</summary>
    private sealed class Data : IDisposable
    {
        private readonly List<GpuBuffer> _buffers = [];

        public Data(int hidden, int rows, int tokensPerSample)
        {
            var samples = rows / tokensPerSample;
            var tokens = Array.ConvertAll(Gaussian.Values(rows * hidden, hidden + rows), v => (float)(Half)(3 + 2 * v));
            var table = Gaussian.Values(TableRows * Chunks * hidden, hidden);
            var tableRows = Enumerable.Range(0, 2 * samples).Select(i => (3 * i + 2) % TableRows).ToArray();
            Input = new NormModulateInput(
                Keep(TestDevice.UploadHalf(tokens)), rows, tokensPerSample, hidden,
                new DeviceModulation
                {
                    Table = Keep(TestDevice.Upload<float>(table)),
                    Rows = Keep(TestDevice.Upload<int>(tableRows)),
                    Step = Keep(TestDevice.Upload<int>([1])),
                    Stride = Chunks * hidden,
                    SampleCount = samples,
                },
                ShiftChunk * hidden, Epsilon);

            using var reference = new ReferenceBackend();
            using var x = reference.Allocate(ElementType.F32, samples, tokensPerSample, hidden);
            using var modulation = reference.Allocate(ElementType.F32, TableRows, Chunks * hidden);
            using var rowOfSample = reference.Allocate(ElementType.I32, samples);
            using var y = reference.Allocate(ElementType.F32, samples, tokensPerSample, hidden);
            reference.Upload<float>(tokens, x);
            reference.Upload<float>(table, modulation);
            reference.Upload<int>(tableRows.AsSpan(samples), rowOfSample);
            reference.NormModulate(x, new Modulation(modulation, rowOfSample), ShiftChunk, Epsilon, y);
            Expected = new float[rows * hidden];
            reference.Download<float>(y, Expected);
        }

        public NormModulateInput Input { get; }

        public float[] Expected { get; }

        public void Dispose()
        {
            foreach (var buffer in _buffers) buffer.Dispose();
        }

        private DevicePointer Keep(GpuBuffer buffer)
        {
            _buffers.Add(buffer);
            return buffer.Pointer;
        }
    }
}

using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Cuda;

/// <summary>A group-quantized layer whose codes, scales and zero points a test can read.</summary>
internal sealed class GemmLayer
{
    public GemmLayer(int outputs, int inputs, int bits, int group, Random random, bool hasZeros = true, Func<Half>? scale = null)
    {
        (Outputs, Inputs) = (outputs, inputs);
        Format = new GroupFormat(bits, group);
        Grid = Format.Grid(inputs);
        Codes = new byte[outputs * inputs];
        Zeros = new byte[outputs * Grid.Count];
        Scales = new Half[outputs * Grid.Count];
        Bias = new float[outputs];
        for (var i = 0; i < Codes.Length; i++) Codes[i] = (byte)random.Next(Format.MaxCode + 1);
        for (var i = 0; i < Scales.Length; i++)
        {
            Zeros[i] = (byte)(hasZeros ? random.Next(Format.MaxCode + 1) : 0);
            Scales[i] = scale is null ? (Half)(0.002f + 0.001f * random.NextSingle()) : scale();
        }

        for (var i = 0; i < outputs; i++) Bias[i] = random.Next(-8, 9) / 8f;
    }

    public int Outputs { get; }

    public int Inputs { get; }

    public GroupFormat Format { get; }

    public GroupGrid Grid { get; }

    public byte[] Codes { get; }

    public Half[] Scales { get; }

    public byte[] Zeros { get; }

    public float[] Bias { get; }

    public int Group(int k) => k / Grid.Size;

    /// <summary>The weight as the file would hold it.</summary>
    public GroupWeight ToWeight(bool quantizesInput)
    {
        var rowBytes = Format.RowBytes(Inputs);
        var packed = new byte[Outputs * rowBytes];
        for (var n = 0; n < Outputs; n++) BitPacking.Pack(Codes.AsSpan(n * Inputs, Inputs), Format.Bits, packed.AsSpan(n * rowBytes, rowBytes));
        var zeros = new byte[Format.ZeroBytes(Outputs, Inputs)];
        BitPacking.Pack(Zeros.AsSpan(), Format.Bits, zeros);
        return new GroupWeight("layer", Outputs, Inputs, Bias, Format, packed, Scales, zeros) { Activations = quantizesInput ? new ActivationFormat(Format.GroupSize) : null };
    }

    public CudaLinear Pack(bool quantizesInput)
    {
        using var packer = new LinearPacker(TestDevice.Device);
        return packer.Pack(ToWeight(quantizesInput));
    }

    /// <summary>s(q − Z) of one weight, rounded to a half as the weight-only products do.</summary>
    public double HalfWeight(int n, int k)
    {
        var at = n * Grid.Count + Group(k);
        return (double)(Half)((float)Scales[at] * (Codes[n * Inputs + k] - Zeros[at]));
    }
}

/// <summary>Quantized activations whose codes a test can read, and the same on the device.</summary>
internal sealed class GemmInput : IDisposable
{
    private readonly List<GpuBuffer> _buffers = [];

    public GemmInput(int rows, GroupGrid grid, Random random, bool hasZeros = true, Func<float>? scale = null, int maxCode = 255)
    {
        (Rows, Grid) = (rows, grid);
        Codes = new byte[rows * grid.RowLength];
        Scales = new float[rows * grid.Count];
        Zeros = new byte[rows * grid.Count];
        for (var i = 0; i < Codes.Length; i++) Codes[i] = (byte)random.Next(maxCode + 1);
        for (var i = 0; i < Scales.Length; i++)
        {
            Scales[i] = scale is null ? 0.01f + 0.005f * random.NextSingle() : scale();
            Zeros[i] = (byte)(hasZeros ? random.Next(maxCode + 1) : 0);
        }
    }

    public int Rows { get; }

    public GroupGrid Grid { get; }

    public byte[] Codes { get; }

    public float[] Scales { get; }

    public byte[] Zeros { get; }

    /// <summary>Some of the rows, in the layout of kernels/abi/activation.h.</summary>
    public DeviceActivation Upload(int firstRow, int rowCount)
    {
        var layout = new ActivationLayout(Grid);
        var codes = new byte[rowCount * layout.CodeStride];
        var corrections = new Half[rowCount * layout.CorrectionStride];
        for (var row = 0; row < rowCount; row++)
        {
            var source = firstRow + row;
            var sums = new int[Grid.Count];
            for (var k = 0; k < Grid.RowLength; k++)
            {
                codes[row * layout.CodeStride + layout.CodeAt(k)] = Codes[source * Grid.RowLength + k];
                sums[k / Grid.Size] += Codes[source * Grid.RowLength + k];
            }

            for (var g = 0; g < Grid.Count; g++)
            {
                var (scale, zero) = (Scales[source * Grid.Count + g], Zeros[source * Grid.Count + g]);
                var (meanHigh, meanLow) = Split(scale * (sums[g] - Grid.Length(g) * zero) / Grid.Length(g));
                var (offsetHigh, offsetLow) = Split(scale * zero);
                Half[] six = [meanHigh, meanHigh, meanLow, offsetHigh, offsetHigh, offsetLow];
                six.CopyTo(corrections, row * layout.CorrectionStride + 6 * g);
            }
        }

        return new()
        {
            Codes = Keep(TestDevice.Upload<byte>(codes)),
            Scales = Keep(TestDevice.Upload<float>(Scales.AsSpan(firstRow * Grid.Count, rowCount * Grid.Count))),
            Corrections = Keep(TestDevice.Upload<Half>(corrections)),
        };
    }

    /// <summary>Σ s_a s_w Σ (q_a − Z_a)(q_w − Z_w) + b, and the same over magnitudes.</summary>
    public (double Value, double Magnitude) Product(int row, GemmLayer layer, int n)
    {
        double value = layer.Bias[n], magnitude = Math.Abs(layer.Bias[n]);
        for (var g = 0; g < Grid.Count; g++)
        {
            long sum = 0, largest = 0;
            for (var k = Grid.Start(g); k < Grid.Start(g) + Grid.Length(g); k++)
            {
                int a = Codes[row * Grid.RowLength + k], w = layer.Codes[n * Grid.RowLength + k];
                sum += (a - Zeros[row * Grid.Count + g]) * (w - layer.Zeros[n * Grid.Count + g]);
                largest += a * w;
            }

            var scale = (double)Scales[row * Grid.Count + g] * (double)layer.Scales[n * Grid.Count + g];
            value += scale * sum;
            magnitude += scale * largest;
        }

        return (value, magnitude);
    }

    public void Dispose()
    {
        foreach (var buffer in _buffers) buffer.Dispose();
    }

    private static (Half High, Half Low) Split(float v) => ((Half)v, (Half)(v - (float)(Half)v));

    private DevicePointer Keep(GpuBuffer buffer)
    {
        _buffers.Add(buffer);
        return buffer.Pointer;
    }
}

/// <summary>Launching products on the test device.</summary>
internal static class GemmRun
{
    /// <summary>The smallest tile: four warps of 32×32.</summary>
    public static GemmTile SmallTile { get; } = new(64, 64, 2, 2);

    private static GemmKernel? s_kernel;
    private static DecodeKernel? s_decoder;

    public static GemmKernel Kernel => s_kernel ??= new GemmKernel(TestDevice.Library);

    public static GemmConfiguration With(this GemmTile tile, CudaLinear layer, int stages = 2) => new(tile, GemmConfiguration.StepsOfStage(layer.Layout), stages);

    /// <summary>x Wᵀ + b in fp32, of codes.</summary>
    public static float[] Floats(CudaLinear layer, DeviceActivation input, int rows, GemmConfiguration configuration, int architecture = 0) =>
        Floats(new GemmProblem { Rows = rows, Layer = layer, QuantizedInput = input }, configuration, architecture);

    /// <summary>x Wᵀ + b in fp32, of halves.</summary>
    public static float[] Floats(CudaLinear layer, DevicePointer input, int rows, GemmConfiguration configuration) =>
        Floats(new GemmProblem { Rows = rows, Layer = layer, Input = input }, configuration);

    /// <summary>Halves [rows, K rounded up to 8].</summary>
    public static GpuBuffer Halves(float[] values, int rows, int columns)
    {
        var stride = (columns + 7) / 8 * 8;
        var padded = new float[rows * stride];
        for (var row = 0; row < rows; row++) values.AsSpan(row * columns, columns).CopyTo(padded.AsSpan(row * stride));
        return TestDevice.UploadHalf(padded);
    }

    public static float[] Floats(in GemmProblem problem, GemmConfiguration configuration, int architecture = 0)
    {
        var kernel = architecture == 0 ? Kernel : new GemmKernel(TestDevice.Library) { Architecture = architecture };
        var count = problem.Rows * problem.Layer.Outputs;
        using var output = TestDevice.Zeroed(count * sizeof(float));
        using var decoded = TestDevice.Device.Allocate(Math.Max(16, problem.Layer.DecodedBytes));
        if (problem.Layer.Layout.IsDecoded) (s_decoder ??= new DecodeKernel(TestDevice.Library)).Launch(TestDevice.Stream, problem.Layer, decoded.Pointer);
        kernel.Launch(TestDevice.Stream, problem with { Output = output.Pointer, OutputIsFloat = true, DecodedRecords = decoded.Pointer }, configuration);
        return TestDevice.Download<float>(output, count);
    }
}

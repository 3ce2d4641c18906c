using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Calibration.Evaluation;

/// <summary>Values of one layer for some images.</summary>
/// <param name="Values">[N, height, width, channels].</param>
/// <param name="Count">N.</param>
/// <param name="Height">Rows.</param>
/// <param name="Width">Columns.</param>
/// <param name="Channels">Channels.</param>
internal sealed record FeatureMap(float[] Values, int Count, int Height, int Width, int Channels)
{
    /// <summary>Pixels of all images.</summary>
    public int PixelCount => Count * Height * Width;
}

/// <summary>Shape of a convolution.</summary>
/// <param name="Name">The layer's name in the file.</param>
/// <param name="Inputs">Channels in.</param>
/// <param name="Outputs">Channels out.</param>
/// <param name="KernelHeight">Rows of the kernel.</param>
/// <param name="KernelWidth">Columns of the kernel.</param>
/// <param name="Stride">Stride of both axes.</param>
/// <param name="Padded">Whether zeros of half the kernel stand around the input; else the output shrinks.</param>
internal sealed record InceptionConvolution(string Name, int Inputs, int Outputs, int KernelHeight, int KernelWidth, int Stride, bool Padded)
{
    /// <summary>K of the product it amounts to.</summary>
    public int Depth => KernelHeight * KernelWidth * Inputs;
}

/// <summary>A convolution with its batch norm folded in and a ReLU behind: rows of patches times a matrix.</summary>
internal sealed class InceptionLayer : IDisposable
{
    /// <summary>ε of every batch norm of this network.</summary>
    private const float NormEpsilon = 1e-3f;

    /// <summary>Output pixels of one product: its patches take a few megabytes.</summary>
    private const int RowsTogether = 4096;

    private readonly IDiTBackend _backend;
    private readonly InceptionConvolution _shape;
    private readonly PreparedLinear _matrix;

    /// <param name="shape">The layer's shape.</param>
    /// <param name="weights">Reads a tensor of a name and shape.</param>
    /// <param name="backend">Multiplies.</param>
    public InceptionLayer(InceptionConvolution shape, Func<string, int[], float[]> weights, IDiTBackend backend)
    {
        (_shape, _backend) = (shape, backend);
        var (inputs, outputs, taps) = (shape.Inputs, shape.Outputs, shape.KernelHeight * shape.KernelWidth);
        var kernel = weights($"{shape.Name}.conv.weight", [outputs, inputs, shape.KernelHeight, shape.KernelWidth]);
        var gamma = weights($"{shape.Name}.bn.weight", [outputs]);
        var beta = weights($"{shape.Name}.bn.bias", [outputs]);
        var mean = weights($"{shape.Name}.bn.running_mean", [outputs]);
        var variance = weights($"{shape.Name}.bn.running_var", [outputs]);
        // [Cout, Cin, taps] → [Cout, taps, Cin], as patches of a map with channels last lie.
        var matrix = new float[outputs * shape.Depth];
        var bias = new float[outputs];
        for (var o = 0; o < outputs; o++)
        {
            var scale = gamma[o] / MathF.Sqrt(variance[o] + NormEpsilon);
            bias[o] = beta[o] - mean[o] * scale;
            for (var c = 0; c < inputs; c++)
                for (var tap = 0; tap < taps; tap++) matrix[(o * taps + tap) * inputs + c] = scale * kernel[(o * inputs + c) * taps + tap];
        }

        _matrix = backend.Prepare(new MemoryWeight(shape.Name, outputs, shape.Depth, matrix, bias));
    }

    /// <summary>ReLU(BN(conv(input))).</summary>
    public FeatureMap Apply(FeatureMap input)
    {
        var (padY, padX) = _shape.Padded ? (_shape.KernelHeight / 2, _shape.KernelWidth / 2) : (0, 0);
        var height = (input.Height + 2 * padY - _shape.KernelHeight) / _shape.Stride + 1;
        var width = (input.Width + 2 * padX - _shape.KernelWidth) / _shape.Stride + 1;
        var output = new FeatureMap(new float[input.Count * height * width * _shape.Outputs], input.Count, height, width, _shape.Outputs);
        var rows = Math.Min(RowsTogether, output.PixelCount);
        using var patches = _backend.Allocate(ElementType.F32, rows, _shape.Depth);
        using var products = _backend.Allocate(ElementType.F32, rows, _shape.Outputs);
        var isPointwise = _shape is { KernelHeight: 1, KernelWidth: 1, Stride: 1 };
        var gathered = new float[isPointwise ? 0 : rows * _shape.Depth];
        for (var first = 0; first < output.PixelCount; first += rows)
        {
            var count = Math.Min(rows, output.PixelCount - first);
            var source = isPointwise ? input.Values.AsSpan(first * _shape.Depth, count * _shape.Depth) : gathered.AsSpan(0, count * _shape.Depth);
            if (!isPointwise) Gather(input, output, first, count, padY, padX, gathered);
            _backend.Upload<float>(source, patches);
            var (left, right) = count == rows ? (patches, products) : (patches.Prefix(count), products.Prefix(count));
            _backend.Linear(left, _matrix, Epilogue.Activate(Activation.Relu), right);
            _backend.Download(right, output.Values.AsSpan(first * _shape.Outputs, count * _shape.Outputs));
        }

        return output;
    }

    public void Dispose() => _matrix.Dispose();

    /// <summary>Copies the patch under each output pixel into a row, zeros where it leaves the image.</summary>
    private void Gather(FeatureMap input, FeatureMap output, int firstPixel, int count, int padY, int padX, float[] rows)
    {
        var (channels, depth, stride) = (_shape.Inputs, _shape.Depth, _shape.Stride);
        Parallel.For(0, count, i =>
        {
            var pixel = firstPixel + i;
            var (image, y, x) = (pixel / (output.Height * output.Width), pixel / output.Width % output.Height, pixel % output.Width);
            var row = rows.AsSpan(i * depth, depth);
            for (var tap = 0; tap < _shape.KernelHeight * _shape.KernelWidth; tap++)
            {
                var sourceY = y * stride - padY + tap / _shape.KernelWidth;
                var sourceX = x * stride - padX + tap % _shape.KernelWidth;
                var target = row.Slice(tap * channels, channels);
                if ((uint)sourceY < (uint)input.Height && (uint)sourceX < (uint)input.Width)
                    input.Values.AsSpan(((image * input.Height + sourceY) * input.Width + sourceX) * channels, channels).CopyTo(target);
                else
                    target.Clear();
            }
        });
    }
}

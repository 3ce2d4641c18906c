using System.Diagnostics;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Quantizing;

/// <summary>What calibration knows about the inputs of a layer.</summary>
/// <param name="Hessian">H.</param>
/// <param name="Factor">U.</param>
internal sealed record InputStatistics(Hessian Hessian, InverseFactor Factor);

/// <summary>Quantizes one layer at a time and measures what that costs.</summary>
/// <param name="workers">Who computes.</param>
/// <param name="rule">How ranges are found.</param>
internal sealed unsafe class LayerPacker(Workers workers, RangeRule rule)
{
    /// <summary>Rows of a task.</summary>
    private const int TaskRows = 16;

    /// <summary>Quantizes a layer: by GPTQ where its inputs are known, else to the nearest codes.</summary>
    /// <param name="weight">The layer.</param>
    /// <param name="format">Bits and groups.</param>
    /// <param name="activations">How its input is quantized.</param>
    /// <param name="inputs">H and U of its inputs.</param>
    /// <exception cref="InvalidFileException">A weight is not finite.</exception>
    public (PackedLayer Layer, LayerReport Report) Pack(LinearWeight weight, GroupFormat format, ActivationFormat? activations, InputStatistics? inputs = null)
    {
        var start = Stopwatch.GetTimestamp();
        var byteCount = (long)weight.Outputs * weight.Inputs * sizeof(float);
        using var original = new NativeBuffer(byteCount);
        var values = new Matrix(original.Floats, weight.Outputs, weight.Inputs, weight.Inputs);
        ForRows(weight.Outputs, (first, count) => weight.CopyRows(first, count, new Span<float>(values.Row(first), count * weight.Inputs)));
        var codes = inputs is null ? RoundToNearest(values, format) : Gptq(values, format, inputs.Factor);
        var packed = PackedLayer.Pack(weight.Name, weight.Outputs, weight.Inputs, format, codes.Codes, codes.Scales, codes.Zeros, weight.Bias, activations);
        var (error, norm) = TakeError(values, format, codes);
        double? outputError = inputs is null ? null : OutputError(weight, values, inputs.Hessian);
        var report = new LayerReport(
            weight.Name,
            packed.Weight.LayerFormat.ToString(),
            packed.Tensors().Sum(tensor => tensor.ByteCount),
            Math.Sqrt(error / Math.Max(norm, double.Epsilon)),
            outputError,
            Stopwatch.GetElapsedTime(start).TotalSeconds);
        return (packed, report);
    }

    private void ForRows(int rowCount, Action<int, int> body) =>
        workers.For((rowCount + TaskRows - 1) / TaskRows, task => body(task * TaskRows, Math.Min(TaskRows, rowCount - task * TaskRows)));

    private GroupCodes Gptq(Matrix values, GroupFormat format, InverseFactor factor)
    {
        using var changed = new NativeBuffer((long)values.RowCount * values.ColumnCount * sizeof(float));
        var working = new Matrix(changed.Floats, values.RowCount, values.ColumnCount, values.ColumnCount);
        ForRows(values.RowCount, (first, count) => Copy(values.Rows(first, count), working.Row(first)));
        return Quantizing.Gptq.Quantize(workers, working, factor, format, rule);
    }

    private static void Copy(Matrix source, float* destination) =>
        new ReadOnlySpan<float>(source.Row(0), source.RowCount * source.ColumnCount).CopyTo(new Span<float>(destination, source.RowCount * source.ColumnCount));

    private GroupCodes RoundToNearest(Matrix values, GroupFormat format)
    {
        var (inputs, groups) = (values.ColumnCount, format.Grid(values.ColumnCount).Count);
        var result = new GroupCodes(new byte[values.RowCount * inputs], new Half[values.RowCount * groups], new byte[values.RowCount * groups]);
        ForRows(values.RowCount, (first, count) =>
        {
            for (var row = first; row < first + count; row++)
            {
                LayerQuantizer.QuantizeRow(
                    new ReadOnlySpan<float>(values.Row(row), inputs), format, rule,
                    result.Codes.AsSpan(row * inputs, inputs), result.Scales.AsSpan(row * groups, groups), result.Zeros.AsSpan(row * groups, groups));
            }
        });
        return result;
    }

    /// <summary>Turns W into W − Ŵ.</summary>
    /// <returns>‖W − Ŵ‖² and ‖W‖².</returns>
    private (double Error, double Norm) TakeError(Matrix values, GroupFormat format, GroupCodes codes)
    {
        var inputs = values.ColumnCount;
        var grid = format.Grid(inputs);
        var (errors, norms) = (new double[values.RowCount], new double[values.RowCount]);
        ForRows(values.RowCount, (first, count) =>
        {
            for (var row = first; row < first + count; row++)
            {
                var w = values.Row(row);
                for (var g = 0; g < grid.Count; g++)
                {
                    var (scale, zero) = (codes.Scales[row * grid.Count + g], codes.Zeros[row * grid.Count + g]);
                    for (var i = grid.Start(g); i < grid.Start(g) + grid.Length(g); i++)
                    {
                        norms[row] += (double)w[i] * w[i];
                        w[i] -= GroupQuantizer.Dequantize(codes.Codes[row * inputs + i], scale, zero);
                        errors[row] += (double)w[i] * w[i];
                    }
                }
            }
        });
        return (errors.Sum(), norms.Sum());
    }

    /// <summary>√(tr ΔHΔᵀ / tr WHWᵀ).</summary>
    private double OutputError(LinearWeight weight, Matrix delta, Hessian hessian)
    {
        using var buffer = new NativeBuffer((long)hessian.Size * hessian.Size * sizeof(float));
        hessian.CopyTo(buffer.Floats);
        var h = new Matrix(buffer.Floats, hessian.Size, hessian.Size, hessian.Size);
        var error = MatrixProduct.QuadraticForm(workers, delta, h);
        ForRows(weight.Outputs, (first, count) => weight.CopyRows(first, count, new Span<float>(delta.Row(first), count * weight.Inputs)));
        var norm = MatrixProduct.QuadraticForm(workers, delta, h);
        return Math.Sqrt(Math.Max(error, 0) / Math.Max(norm, double.Epsilon));
    }
}

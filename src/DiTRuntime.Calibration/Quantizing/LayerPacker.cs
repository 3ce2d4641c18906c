using System.Diagnostics;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Quantizing;

/// <summary>What calibration knows about the inputs of a layer.</summary>
/// <param name="Hessian">H.</param>
/// <param name="Factor">U.</param>
internal sealed record InputStatistics(Hessian Hessian, InverseFactor Factor);

/// <summary>Quantizes one layer at a time and measures what that costs.</summary>
/// <param name="workers">Who computes.</param>
/// <param name="rule">How ranges of groups are found.</param>
/// <param name="codebooks">Makes codebooks; null where no layer has any.</param>
internal sealed unsafe class LayerPacker(Workers workers, RangeRule rule, CodebookQuantizer? codebooks = null)
{
    /// <summary>Rows of a task.</summary>
    private const int TaskRows = 16;

    /// <summary>Quantizes a layer: by GPTQ or GPTVQ where its inputs are known, else to the nearest codes.</summary>
    /// <param name="weight">The layer.</param>
    /// <param name="format">Form of its weight.</param>
    /// <param name="activations">How its input is quantized.</param>
    /// <param name="inputs">H and U of its inputs.</param>
    /// <exception cref="InvalidFileException">A weight is not finite.</exception>
    public (PackedLayer Layer, LayerReport Report) Pack(LinearWeight weight, WeightFormat format, ActivationFormat? activations, InputStatistics? inputs = null)
    {
        var start = Stopwatch.GetTimestamp();
        using var original = new NativeBuffer((long)weight.Outputs * weight.Inputs * sizeof(float));
        var values = Read(weight, original);
        var packed = format is GroupFormat groups ? PackGroups(weight, values, groups, activations, inputs) : PackCodebooks(weight, values, (CodebookFormat)format, activations, inputs);
        return (packed, Measure(weight, values, packed, inputs?.Hessian, start));
    }

    /// <summary>Measures a layer that is quantized already.</summary>
    /// <param name="weight">The layer as it was.</param>
    /// <param name="packed">What has become of it.</param>
    public LayerReport Measure(LinearWeight weight, PackedLayer packed)
    {
        using var original = new NativeBuffer((long)weight.Outputs * weight.Inputs * sizeof(float));
        return Measure(weight, Read(weight, original), packed, hessian: null, Stopwatch.GetTimestamp());
    }

    private LayerReport Measure(LinearWeight weight, Matrix values, PackedLayer packed, Hessian? hessian, long start)
    {
        var (error, norm) = TakeError(values, packed.Weight);
        double? outputError = hessian is null ? null : OutputError(weight, values, hessian);
        return new LayerReport(
            weight.Name,
            packed.Weight.LayerFormat.ToString(),
            packed.Tensors().Sum(tensor => tensor.ByteCount),
            Math.Sqrt(error / Math.Max(norm, double.Epsilon)),
            outputError,
            Stopwatch.GetElapsedTime(start).TotalSeconds);
    }

    private Matrix Read(LinearWeight weight, NativeBuffer buffer)
    {
        var values = new Matrix(buffer.Floats, weight.Outputs, weight.Inputs, weight.Inputs);
        ForRows(weight.Outputs, (first, count) => weight.CopyRows(first, count, new Span<float>(values.Row(first), count * weight.Inputs)));
        return values;
    }

    private PackedLayer PackGroups(LinearWeight weight, Matrix values, GroupFormat format, ActivationFormat? activations, InputStatistics? inputs)
    {
        var codes = inputs is null ? RoundToNearest(values, format) : Gptq(values, format, inputs.Factor);
        return PackedLayer.Pack(weight.Name, weight.Outputs, weight.Inputs, format, codes.Codes, codes.Scales, codes.Zeros, weight.Bias, activations);
    }

    /// <summary>A pool is made by the method that trains with it; until then codewords are stored themselves.</summary>
    private PackedLayer PackCodebooks(LinearWeight weight, Matrix values, CodebookFormat format, ActivationFormat? activations, InputStatistics? inputs)
    {
        format = format with { PoolSize = 0 };
        var codes = inputs is null ? codebooks!.Quantize(values, format) : new Gptvq(workers, values, format, inputs).Quantize(codebooks!);
        return new PackedLayer(CodebookWeight.Pack(weight.Name, weight.Outputs, weight.Inputs, weight.Bias, format, codes.Codes, codes.Vectors, rowScales: codes.RowScales, activations: activations));
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
    private (double Error, double Norm) TakeError(Matrix values, LinearWeight packed)
    {
        var inputs = values.ColumnCount;
        var (errors, norms) = (new double[values.RowCount], new double[values.RowCount]);
        ForRows(values.RowCount, (first, count) =>
        {
            var made = new float[count * inputs];
            packed.CopyRows(first, count, made);
            for (var row = first; row < first + count; row++)
            {
                var w = values.Row(row);
                for (var i = 0; i < inputs; i++)
                {
                    norms[row] += (double)w[i] * w[i];
                    w[i] -= made[(row - first) * inputs + i];
                    errors[row] += (double)w[i] * w[i];
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

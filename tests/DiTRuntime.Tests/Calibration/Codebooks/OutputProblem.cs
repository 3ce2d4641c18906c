using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Calibration.Numerics;
using DiTRuntime.Tests.Quantization;

namespace DiTRuntime.Tests.Calibration.Codebooks;

/// <summary>A random weight, inputs that are correlated, and a codebook layer in any state.</summary>
internal sealed unsafe class OutputProblem : IDisposable
{
    private readonly NativeBuffer _weights;
    private readonly NativeBuffer _hessian;

    public OutputProblem(Workers workers, int outputs, int inputs, CodebookFormat format, int seed = 1)
    {
        _weights = new NativeBuffer((long)outputs * inputs * sizeof(float));
        _hessian = new NativeBuffer((long)inputs * inputs * sizeof(float));
        (Weights, Hessian) = (new Matrix(_weights.Floats, outputs, inputs, inputs), new Matrix(_hessian.Floats, inputs, inputs, inputs));
        Gaussian.Values(outputs * inputs, seed).CopyTo(new Span<float>(_weights.Floats, outputs * inputs));
        using var problem = new RandomInputs(workers, inputs, 3 * inputs, seed);
        problem.Hessian.CopyTo(_hessian.Floats);
        Layer = new CodebookLayer("layer", outputs, inputs, format, null);
        var random = new Random(seed);
        Gaussian.Values(Layer.Vectors.Length, seed + 1).CopyTo(Layer.Vectors, 0);
        foreach (ref var code in Layer.Codes.AsSpan()) code = (ushort)random.Next(format.CodebookSize);
        if (format.PoolSize > 0)
            foreach (ref var number in Layer.Table.AsSpan()) number = random.Next(format.PoolSize);
        if (format.HasRowScales)
            foreach (ref var scale in Layer.RowScales.AsSpan()) scale = 0.5f + random.NextSingle();
    }

    public Matrix Weights { get; }

    public Matrix Hessian { get; }

    public CodebookLayer Layer { get; }

    /// <summary>Diagonal of H.</summary>
    public float[] Moments => [.. Enumerable.Range(0, Hessian.RowCount).Select(i => Hessian.Row(i)[i])];

    /// <summary>e = w − ŵ of a row, from the layer's parts.</summary>
    public double[] Errors(int row)
    {
        var d = Layer.VectorLength;
        return [.. Enumerable.Range(0, Layer.Inputs).Select(i => Weights.Row(row)[i] - (double)Layer.RowScales[row] * Layer.Vectors[Layer.VectorAt(row, i / d) * d + i % d])];
    }

    /// <summary>e H eᵀ of a row, in double precision.</summary>
    public double RowError(int row)
    {
        var e = Errors(row);
        double sum = 0;
        for (var i = 0; i < e.Length; i++)
            for (var j = 0; j < e.Length; j++) sum += e[i] * Hessian.Row(i)[j] * e[j];
        return sum;
    }

    /// <summary>The same over all rows.</summary>
    public double Error() => Enumerable.Range(0, Layer.Outputs).Sum(RowError);

    public void Dispose()
    {
        _weights.Dispose();
        _hessian.Dispose();
    }
}

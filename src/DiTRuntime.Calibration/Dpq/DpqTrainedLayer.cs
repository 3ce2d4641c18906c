using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Calibration.Training;

namespace DiTRuntime.Calibration.Dpq;

/// <summary>
/// A codebook layer under training: AdamW on its vectors, row scales and bias by straight gradients (∂L/∂V[p] = Σ s·∂L/∂Ŵ over the places of p), and a target that codes are chosen for.
/// </summary>
/// <remarks>
/// The target starts as the layer's weight in floating point and follows ∂L/∂Ŵ too, as if codes were free, each step of it divided by the root of a second moment that is kept by row and
/// by column (Shazeer and Stern 2018). So a code changes when the loss has asked for it long enough. Rates are parts of the root mean square of what they change.
/// </remarks>
internal sealed unsafe class DpqTrainedLayer : ITrainedLayer
{
    private const float VectorRate = 1e-3f, ScaleRate = 1e-3f, BiasRate = 2e-4f, TargetRate = 4e-4f;
    private const float MomentDecay = 0.99f, LongestMemory = 0.98f;

    private readonly Workers _workers;
    private readonly CodebookLayer _average;
    private readonly AdamMoments _vectors, _scales, _bias;
    private readonly float[] _target, _rowMoments, _columnMoments;
    private readonly double[] _sums;

    /// <param name="workers">Who computes.</param>
    /// <param name="layer">Where it starts; changed by training.</param>
    /// <param name="target">The weight in floating point [N, K], taken over; empty where codes shall keep to what they are.</param>
    public DpqTrainedLayer(Workers workers, CodebookLayer layer, float[] target)
    {
        (_workers, Layer, _target) = (workers, layer, target);
        _average = new CodebookLayer(layer.Name, layer.Outputs, layer.Inputs, layer.Format, layer.Bias) { Activations = layer.Activations };
        _average.CopyFrom(layer);
        _vectors = new AdamMoments(layer.Vectors.Length);
        _scales = new AdamMoments(layer.Format.HasRowScales ? layer.Outputs : 0);
        _bias = new AdamMoments(layer.Bias?.Length ?? 0);
        (_rowMoments, _columnMoments) = target.Length == 0 ? ([], []) : (new float[layer.Outputs], new float[layer.Inputs]);
        _sums = new double[layer.Vectors.Length];
    }

    /// <summary>The layer as the last step left it.</summary>
    public CodebookLayer Layer { get; }

    /// <inheritdoc/>
    public int Outputs => Layer.Outputs;

    /// <inheritdoc/>
    public int Inputs => Layer.Inputs;

    /// <inheritdoc/>
    public float[]? Bias => Layer.Bias;

    /// <summary>Steps taken.</summary>
    public int StepCount { get; set; }

    /// <summary>What rates are multiplied by: set before each step.</summary>
    public float RateFactor { get; set; } = 1;

    /// <summary>What codes are chosen for: [N, K], or empty.</summary>
    public float[] Target => _target;

    /// <summary>Takes everything that steps change to a state or back.</summary>
    public void Exchange(TrainingState state)
    {
        Layer.Exchange(state, "");
        _average.Exchange(state, "average.");
        _vectors.Exchange(state, $"{Layer.Name}.vectors");
        _scales.Exchange(state, $"{Layer.Name}.scales");
        _bias.Exchange(state, $"{Layer.Name}.bias");
        state.Exchange($"{Layer.Name}.target", _target);
        state.Exchange($"{Layer.Name}.target.rows", _rowMoments);
        state.Exchange($"{Layer.Name}.target.columns", _columnMoments);
    }

    /// <summary>Starts from another layer of the same format.</summary>
    public void Restart(CodebookLayer layer)
    {
        Layer.CopyFrom(layer);
        _average.CopyFrom(layer);
    }

    /// <summary>The layer with vectors, scales and bias averaged over the last steps, as a file would give it back.</summary>
    public CodebookLayer Snapshot()
    {
        Layer.Codes.CopyTo(_average.Codes, 0);
        Layer.Table.CopyTo(_average.Table, 0);
        return CodebookLayer.From(_average.ToWeight());
    }

    /// <inheritdoc/>
    public void CopyWeight(Span<float> weight)
    {
        fixed (float* values = weight) Layer.Expand(_workers, new Matrix(values, Outputs, Inputs, Inputs));
    }

    /// <inheritdoc/>
    public void Step(ReadOnlySpan<float> weightGradient, ReadOnlySpan<float> biasGradient)
    {
        StepCount++;
        fixed (float* values = weightGradient)
        {
            var gradient = new Matrix(values, Outputs, Inputs, Inputs);
            var scales = ScaleGradient(gradient);
            Layer.SumByVector(_workers, gradient, _sums);
            if (_target.Length > 0) MoveTarget(gradient);
            _vectors.Step(Layer.Vectors, _sums, RateFactor * VectorRate * RootMeanSquare(Layer.Vectors), StepCount);
            _scales.Step(Layer.RowScales, scales, RateFactor * ScaleRate * RootMeanSquare(Layer.RowScales), StepCount);
        }

        if (Layer.Bias is { } bias)
        {
            var sums = new double[bias.Length];
            for (var i = 0; i < sums.Length; i++) sums[i] = biasGradient[i];
            _bias.Step(bias, sums, RateFactor * BiasRate, StepCount);
        }

        foreach (ref var scale in Layer.RowScales.AsSpan()) scale = Math.Max(scale, 1e-4f);
        var keep = Math.Min(LongestMemory, (1f + StepCount) / (10f + StepCount));
        Average(_average.Vectors, Layer.Vectors, keep);
        Average(_average.RowScales, Layer.RowScales, keep);
        if (Layer.Bias is not null) Average(_average.Bias!, Layer.Bias, keep);
    }

    private double[] ScaleGradient(Matrix gradient)
    {
        if (!Layer.Format.HasRowScales) return [];
        var sums = new double[Outputs];
        var d = Layer.VectorLength;
        Layer.ForRows(_workers, row =>
        {
            double sum = 0;
            for (var j = 0; j < Layer.VectorsPerRow; j++)
            {
                var at = Layer.VectorAt(row, j) * d;
                for (var i = 0; i < d; i++) sum += (double)gradient.Row(row)[j * d + i] * Layer.Vectors[at + i];
            }

            sums[row] = sum;
        });
        return sums;
    }

    /// <summary>W −= rate·∂Ŵ/√v with v[n, i] = rows[n]·columns[i] / mean(rows).</summary>
    private void MoveTarget(Matrix gradient)
    {
        var columnParts = new double[Inputs];
        var rows = new double[Outputs];
        Layer.ForRows(_workers, row =>
        {
            double sum = 0;
            for (var i = 0; i < Inputs; i++) sum += (double)gradient.Row(row)[i] * gradient.Row(row)[i];
            rows[row] = sum / Inputs;
        });
        const int band = 64;
        _workers.For((Inputs + band - 1) / band, task =>
        {
            for (var row = 0; row < Outputs; row++)
                for (var i = task * band; i < Math.Min(Inputs, (task + 1) * band); i++) columnParts[i] += (double)gradient.Row(row)[i] * gradient.Row(row)[i] / Outputs;
        });
        var correction = 1 - MathF.Pow(MomentDecay, StepCount);
        double mean = 0;
        for (var row = 0; row < Outputs; row++) mean += (_rowMoments[row] += (1 - MomentDecay) * ((float)rows[row] - _rowMoments[row])) / (double)Outputs;
        for (var i = 0; i < Inputs; i++) _columnMoments[i] += (1 - MomentDecay) * ((float)columnParts[i] - _columnMoments[i]);
        if (!(mean > 0)) return;
        var rate = RateFactor * TargetRate * RootMeanSquare(_target);
        Layer.ForRows(_workers, row =>
        {
            var target = _target.AsSpan(row * Inputs, Inputs);
            for (var i = 0; i < Inputs; i++)
            {
                var moment = _rowMoments[row] * _columnMoments[i] / ((float)mean * correction);
                if (moment > 0) target[i] -= rate * gradient.Row(row)[i] / MathF.Sqrt(moment);
            }
        });
    }

    private static void Average(float[] average, float[] values, float keep)
    {
        for (var i = 0; i < values.Length; i++) average[i] += (1 - keep) * (values[i] - average[i]);
    }

    private static float RootMeanSquare(float[] values)
    {
        double sum = 0;
        foreach (var value in values) sum += (double)value * value;
        return (float)Math.Sqrt(sum / Math.Max(1, values.Length));
    }
}

/// <summary>First and second moments of AdamW (Loshchilov and Hutter 2019) without decay of weights.</summary>
internal sealed class AdamMoments(int count)
{
    private const double FirstDecay = 0.9, SecondDecay = 0.99, Epsilon = 1e-12;

    private readonly float[] _first = new float[count], _second = new float[count];

    /// <summary>Takes both to a state or back.</summary>
    public void Exchange(TrainingState state, string name)
    {
        state.Exchange($"{name}.first", _first);
        state.Exchange($"{name}.second", _second);
    }

    /// <summary>Changes values by a step against their gradient.</summary>
    /// <param name="values">in/out.</param>
    /// <param name="gradient">As many, or none: then nothing happens.</param>
    /// <param name="rate">How far a value goes where gradients agree.</param>
    /// <param name="step">1 for the first.</param>
    public void Step(float[] values, double[] gradient, float rate, int step)
    {
        var (first, second) = (1 - Math.Pow(FirstDecay, step), 1 - Math.Pow(SecondDecay, step));
        for (var i = 0; i < _first.Length; i++)
        {
            _first[i] += (float)((1 - FirstDecay) * (gradient[i] - _first[i]));
            _second[i] += (float)((1 - SecondDecay) * (gradient[i] * gradient[i] - _second[i]));
            values[i] -= (float)(rate * (_first[i] / first) / (Math.Sqrt(_second[i] / second) + Epsilon));
        }
    }
}

using System.Numerics.Tensors;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Quantizing;

/// <summary>The smallest and largest value that each group of a layer's inputs takes over the calibration samples: what static ranges are made of.</summary>
/// <param name="grid">The groups.</param>
internal sealed class InputRanges(GroupGrid grid)
{
    private readonly float[] _min = new float[grid.Count];
    private readonly float[] _max = new float[grid.Count];

    /// <summary>Takes inputs in.</summary>
    /// <param name="values">x [n, K].</param>
    public void Add(ReadOnlySpan<float> values)
    {
        for (; !values.IsEmpty; values = values[grid.RowLength..])
        {
            for (var g = 0; g < grid.Count; g++)
            {
                var group = values.Slice(grid.Start(g), grid.Length(g));
                _min[g] = MathF.Min(_min[g], TensorPrimitives.Min(group));
                _max[g] = MathF.Max(_max[g], TensorPrimitives.Max(group));
            }
        }
    }

    /// <summary>A format that fixes them.</summary>
    public ActivationFormat ToFormat()
    {
        var ranges = _min.Zip(_max, ActivationQuantizer.Range).ToArray();
        return new ActivationFormat(grid.RequestedSize) { StaticScales = [.. ranges.Select(r => r.Scale)], StaticZeros = [.. ranges.Select(r => r.Zero)] };
    }
}

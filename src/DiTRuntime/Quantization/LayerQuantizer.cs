namespace DiTRuntime.Quantization;

/// <summary>Quantizes whole layers without calibration data.</summary>
public static class LayerQuantizer
{
    /// <summary>Rounds every weight of a layer to the nearest code of its group's range.</summary>
    /// <param name="weight">The layer.</param>
    /// <param name="format">Bits and groups.</param>
    /// <param name="rule">How ranges are found.</param>
    /// <param name="activations">How the layer's input is quantized; in the same groups.</param>
    /// <param name="cancellation">Ends the work.</param>
    /// <returns>The same for any number of threads.</returns>
    /// <exception cref="InvalidFileException">A weight is not finite.</exception>
    public static PackedLayer RoundToNearest(
        LinearWeight weight, GroupFormat format, RangeRule rule = RangeRule.MinMax, ActivationFormat? activations = null, CancellationToken cancellation = default)
    {
        var (outputs, inputs) = (weight.Outputs, weight.Inputs);
        var grid = format.Grid(inputs);
        var codes = new byte[outputs * inputs];
        var scales = new Half[outputs * grid.Count];
        var zeros = new byte[outputs * grid.Count];
        try
        {
            Parallel.For(0, outputs, new ParallelOptions { CancellationToken = cancellation }, () => new float[inputs], (row, _, values) =>
            {
                weight.CopyRows(row, 1, values);
                QuantizeRow(values, format, rule, codes.AsSpan(row * inputs, inputs), scales.AsSpan(row * grid.Count, grid.Count), zeros.AsSpan(row * grid.Count, grid.Count));
                return values;
            }, _ => { });
        }
        catch (AggregateException e) when (e.InnerExceptions.OfType<DiTException>().FirstOrDefault() is { } problem)
        {
            // Which of several bad rows is reported depends on the threads; any of them names the tensor.
            throw problem;
        }

        return PackedLayer.Pack(weight.Name, outputs, inputs, format, codes, scales, zeros, weight.Bias, activations);
    }

    /// <summary>Quantizes one row.</summary>
    /// <param name="row">w [K].</param>
    /// <param name="format">Bits and groups.</param>
    /// <param name="rule">How ranges are found.</param>
    /// <param name="codes">q [K].</param>
    /// <param name="scales">s [G].</param>
    /// <param name="zeros">Z [G].</param>
    public static void QuantizeRow(ReadOnlySpan<float> row, GroupFormat format, RangeRule rule, Span<byte> codes, Span<Half> scales, Span<byte> zeros)
    {
        var grid = format.Grid(row.Length);
        for (var g = 0; g < grid.Count; g++)
        {
            var group = row.Slice(grid.Start(g), grid.Length(g));
            (scales[g], zeros[g]) = GroupQuantizer.FindRange(group, format.Bits, rule);
            GroupQuantizer.Quantize(group, scales[g], zeros[g], format.Bits, codes.Slice(grid.Start(g), grid.Length(g)));
        }
    }
}

namespace DiTRuntime.Backends.Cpu.Reference;

public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public void Linear(Tensor input, PreparedLinear layer, in Epilogue epilogue, Tensor output)
    {
        TensorCheck.Linear(this, input, layer, epilogue, output);
        var prepared = TensorCheck.Prepared<ReferenceLinear>(layer);
        var x = Floats(input);
        var y = Floats(output);
        var (n, k) = (layer.Outputs, layer.Inputs);
        for (var row = 0; row < output.RowCount; row++)
        {
            Cancellation.ThrowIfCancellationRequested();
            for (var j = 0; j < n; j++)
            {
                var product = Activate(epilogue.Activation, Dot(prepared, j, x.Slice(row * k, k)));
                ref var target = ref y[row * n + j];
                if (epilogue.Gate is { } gate)
                {
                    var sample = row / output.Shape[1];
                    target = (float)(target + Chunk(gate, sample, epilogue.GateChunk, n)[j] * product);
                }
                else if (epilogue.AddsToOutput)
                {
                    target = (float)(target + product);
                }
                else
                {
                    target = (float)product;
                }
            }

            ((ReferenceTensor)output).FinishRow(row);
        }
    }

    /// <summary>Wⱼ·x + bⱼ.</summary>
    private static double Dot(ReferenceLinear layer, int j, ReadOnlySpan<float> x)
    {
        var w = layer.Weight.AsSpan(j * layer.Inputs, layer.Inputs);
        double sum = layer.Bias[j];
        for (var i = 0; i < w.Length; i++) sum += (double)w[i] * x[i];
        return sum;
    }
}

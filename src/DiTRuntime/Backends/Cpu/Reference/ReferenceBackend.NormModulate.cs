namespace DiTRuntime.Backends.Cpu.Reference;

public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public void NormModulate(Tensor tokens, in Modulation modulation, int shiftChunk, float epsilon, Tensor output)
    {
        TensorCheck.NormModulate(this, tokens, modulation, shiftChunk, output);
        var hidden = tokens.RowLength;
        for (var row = 0; row < tokens.RowCount; row++)
        {
            Cancellation.ThrowIfCancellationRequested();
            var sample = row / tokens.Shape[1];
            var shift = Chunk(modulation, sample, shiftChunk, hidden);
            var scale = Chunk(modulation, sample, shiftChunk + 1, hidden);
            var x = Floats(tokens).Slice(row * hidden, hidden);
            var y = Floats(output).Slice(row * hidden, hidden);

            double mean = 0;
            foreach (var value in x) mean += value;
            mean /= hidden;
            double variance = 0;
            foreach (var value in x) variance += (value - mean) * (value - mean);
            variance /= hidden;

            for (var i = 0; i < hidden; i++)
                y[i] = (float)((x[i] - mean) / Math.Sqrt(variance + epsilon) * (1.0 + scale[i]) + shift[i]);
            ((ReferenceTensor)output).FinishRow(row);
        }
    }
}

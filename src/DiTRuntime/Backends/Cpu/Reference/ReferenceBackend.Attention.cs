namespace DiTRuntime.Backends.Cpu.Reference;

public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public void Attention(Tensor qkv, int headCount, Tensor output)
    {
        TensorCheck.Attention(this, qkv, headCount, output);
        var (samples, tokens, hidden) = (output.Shape[0], output.Shape[1], output.Shape[2]);
        var headSize = hidden / headCount;
        var probabilities = new double[tokens];
        for (var sample = 0; sample < samples; sample++)
            for (var head = 0; head < headCount; head++)
                for (var token = 0; token < tokens; token++)
                {
                    Cancellation.ThrowIfCancellationRequested();
                    var q = Part(sample, token, 0, head);
                    for (var other = 0; other < tokens; other++)
                        probabilities[other] = Dot(q, Part(sample, other, 1, head)) / Math.Sqrt(headSize);
                    Softmax(probabilities);

                    var y = Floats(output).Slice((sample * tokens + token) * hidden + head * headSize, headSize);
                    for (var d = 0; d < headSize; d++)
                    {
                        double sum = 0;
                        for (var other = 0; other < tokens; other++) sum += probabilities[other] * Part(sample, other, 2, head)[d];
                        y[d] = (float)sum;
                    }
                }

        for (var row = 0; row < output.RowCount; row++) ((ReferenceTensor)output).FinishRow(row);

        // part 0 is q, 1 is k, 2 is v; each holds all heads side by side.
        ReadOnlySpan<float> Part(int sample, int token, int part, int head) =>
            Floats(qkv).Slice((sample * tokens + token) * 3 * hidden + part * hidden + head * headSize, headSize);
    }

    private static double Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        double sum = 0;
        for (var i = 0; i < a.Length; i++) sum += (double)a[i] * b[i];
        return sum;
    }

    /// <summary>pᵢ = exp(sᵢ − max s) / Σ exp(sⱼ − max s), in place.</summary>
    private static void Softmax(Span<double> scores)
    {
        var max = double.NegativeInfinity;
        foreach (var score in scores) max = Math.Max(max, score);
        double sum = 0;
        foreach (ref var score in scores) sum += score = Math.Exp(score - max);
        foreach (ref var score in scores) score /= sum;
    }
}

namespace DiTRuntime.Calibration.Evaluation;

/// <summary>exp E KL(p(y|x) ‖ p(y)) (Salimans et al. 2016), averaged over splits as the ADM evaluator has it.</summary>
public static class InceptionScore
{
    /// <summary>Images of a split in the ADM evaluator.</summary>
    public const int DefaultSplit = 5000;

    /// <summary>The score of a set of images, in double precision.</summary>
    /// <param name="logits">[N, C]: class scores before the softmax.</param>
    /// <param name="classCount">C.</param>
    /// <param name="splitSize">Images of a split; the last may be smaller.</param>
    /// <exception cref="ArgumentException">No images.</exception>
    public static double Of(ReadOnlySpan<float> logits, int classCount, int splitSize = DefaultSplit)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(classCount);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(splitSize);
        if (logits.IsEmpty || logits.Length % classCount != 0) throw new ArgumentException($"{logits.Length} scores of {classCount} classes", nameof(logits));
        var count = logits.Length / classCount;
        double sum = 0;
        var splits = 0;
        for (var first = 0; first < count; first += splitSize, splits++)
        {
            var images = Math.Min(splitSize, count - first);
            sum += OfSplit(logits.Slice(first * classCount, images * classCount), classCount, images);
        }

        return sum / splits;
    }

    private static double OfSplit(ReadOnlySpan<float> logits, int classCount, int count)
    {
        // E KL = E Σ p ln p − Σ p̄ ln p̄.
        var marginal = new double[classCount];
        var probabilities = new double[classCount];
        double negativeEntropy = 0;
        for (var i = 0; i < count; i++)
        {
            var row = logits.Slice(i * classCount, classCount);
            double largest = row[0];
            foreach (var value in row) largest = Math.Max(largest, value);
            double total = 0;
            for (var c = 0; c < classCount; c++) total += probabilities[c] = Math.Exp(row[c] - largest);
            var logarithm = Math.Log(total);
            for (var c = 0; c < classCount; c++)
            {
                var p = probabilities[c] / total;
                marginal[c] += p;
                negativeEntropy += p * (row[c] - largest - logarithm);
            }
        }

        var divergence = negativeEntropy / count;
        foreach (var share in marginal)
            if (share > 0) divergence -= share / count * Math.Log(share / count);
        return Math.Exp(divergence);
    }
}

using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Vq4Dit;

/// <summary>The candidates of every vector of a layer and how much each counts: R = softmax(z) (VQ4DiT, Deng et al. 2024, equations 5 and 6).</summary>
/// <param name="vectorCount">Vectors of the layer.</param>
/// <param name="candidateCount">n: candidates of each.</param>
internal sealed class SoftAssignments(int vectorCount, int candidateCount)
{
    /// <summary>A vector one of whose ratios is above this keeps that candidate.</summary>
    public const float FreezingRatio = 0.99f;

    /// <summary>The ratio of a code that is trusted.</summary>
    private const float TrustedRatio = 0.9f;

    /// <summary>What a distance is at least when ratios are made of it.</summary>
    private const float MinDistance = 1e-5f;

    /// <summary>n.</summary>
    public int CandidateCount { get; } = candidateCount;

    /// <summary>A: codes [vectors, n], the one to start from first.</summary>
    public ushort[] Codes { get; } = new ushort[vectorCount * candidateCount];

    /// <summary>z [vectors, n].</summary>
    public float[] Logits { get; } = new float[vectorCount * candidateCount];

    /// <summary>R [vectors, n].</summary>
    public float[] Ratios { get; } = new float[vectorCount * candidateCount];

    /// <summary>RMSprop's second moments of the logits [vectors, n].</summary>
    public float[] Moments { get; } = new float[vectorCount * candidateCount];

    /// <summary>Vectors whose candidate is found.</summary>
    public bool[] Frozen { get; } = new bool[vectorCount];

    /// <summary>Finds the candidates of every vector: the code to start from, and the codewords nearest to the weights.</summary>
    /// <param name="start">Codes and codebooks to start from.</param>
    /// <param name="original">The layer in floating point.</param>
    /// <param name="candidateCount">n, at most k.</param>
    /// <param name="rule">The ratios to start from.</param>
    /// <param name="workers">Who does it.</param>
    public static SoftAssignments Of(CodebookWeight start, LinearWeight original, int candidateCount, RatioRule rule, Workers workers)
    {
        var (format, inputs) = (start.Format, start.Inputs);
        var (positions, d, n) = (format.VectorsPerRow(inputs), format.VectorLength, candidateCount);
        var result = new SoftAssignments(start.Outputs * positions, n);
        var searches = new NearestCodewords[format.BookCount(inputs)];
        workers.For(searches.Length, book => searches[book] = new NearestCodewords(CodewordsOf(start, book), d));
        workers.For(start.Outputs, row =>
        {
            var weights = new float[inputs];
            original.CopyRows(row, 1, weights);
            var scale = start.RowScale(row);
            foreach (ref var weight in weights.AsSpan()) weight /= scale;
            var codes = new ushort[positions];
            BitPacking.Unpack(start.Codes.Slice(row * format.RowBytes(inputs), format.RowBytes(inputs)), format.CodeBits, 0, codes);
            var nearest = new ushort[n];
            var distances = new float[searches[0].ScratchLength];
            for (var j = 0; j < positions; j++)
            {
                searches[start.BookOf(row, j)].Find(weights.AsSpan(j * d, d), distances, nearest);
                result.Begin(row * positions + j, codes[j], nearest, distances, rule);
            }
        });
        return result;
    }

    /// <summary>R = softmax(z) of one vector.</summary>
    /// <returns>Its largest ratio's place among the candidates.</returns>
    public int Normalize(int vector)
    {
        var logits = Logits.AsSpan(vector * CandidateCount, CandidateCount);
        var ratios = Ratios.AsSpan(vector * CandidateCount, CandidateCount);
        var best = 0;
        for (var m = 1; m < logits.Length; m++)
            if (logits[m] > logits[best]) best = m;
        float sum = 0;
        for (var m = 0; m < logits.Length; m++) sum += ratios[m] = MathF.Exp(logits[m] - logits[best]);
        for (var m = 0; m < logits.Length; m++) ratios[m] /= sum;
        return best;
    }

    /// <summary>Gives one candidate the whole ratio, for good.</summary>
    public void Freeze(int vector, int candidate)
    {
        Ratios.AsSpan(vector * CandidateCount, CandidateCount).Clear();
        Ratios[vector * CandidateCount + candidate] = 1;
        Frozen[vector] = true;
    }

    /// <summary>The candidate that counts most of every vector.</summary>
    public ushort[] Harden()
    {
        var codes = new ushort[Frozen.Length];
        for (var v = 0; v < codes.Length; v++)
        {
            var ratios = Ratios.AsSpan(v * CandidateCount, CandidateCount);
            codes[v] = Codes[v * CandidateCount + ratios.IndexOf(System.Numerics.Tensors.TensorPrimitives.Max<float>(ratios))];
        }

        return codes;
    }

    private static float[] CodewordsOf(CodebookWeight weight, int book)
    {
        var halves = new Half[weight.Format.CodebookSize * weight.Format.VectorLength];
        weight.CopyBook(book, halves);
        return Array.ConvertAll(halves, half => (float)half);
    }

    /// <summary>The code to start from is a candidate wherever it lies, and none counts more than it.</summary>
    private void Begin(int vector, ushort start, ReadOnlySpan<ushort> nearest, ReadOnlySpan<float> distances, RatioRule rule)
    {
        var codes = Codes.AsSpan(vector * CandidateCount, CandidateCount);
        codes[0] = start;
        var found = 1;
        foreach (var code in nearest)
            if (found < codes.Length && code != start) codes[found++] = code;
        if (rule == RatioRule.Distances)
        {
            var logits = Logits.AsSpan(vector * CandidateCount, CandidateCount);
            for (var m = 0; m < codes.Length; m++) logits[m] = -MathF.Log(MathF.Sqrt(distances[codes[m]]) + MinDistance);
            logits[0] = MathF.Max(logits[0], System.Numerics.Tensors.TensorPrimitives.Max<float>(logits));
        }

        if (rule == RatioRule.Trusted && codes.Length > 1) Logits[vector * CandidateCount] = MathF.Log(TrustedRatio / (1 - TrustedRatio) * (codes.Length - 1));
        Normalize(vector);
    }
}

/// <summary>The ratios that a training of assignments starts from.</summary>
internal enum RatioRule
{
    /// <summary>1/n, as in the paper.</summary>
    Equal,

    /// <summary>Proportional to 1/‖w − C[a]‖, as in the published code.</summary>
    Distances,

    /// <summary>0.9 for the code to start from, whatever its distance: one that has been chosen by what it does to outputs need not be the nearest.</summary>
    Trusted,
}

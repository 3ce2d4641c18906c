using System.Numerics.Tensors;
using System.Runtime.Intrinsics;

namespace DiTRuntime.Quantization;

/// <summary>How the range of a weight group is found.</summary>
public enum RangeRule
{
    /// <summary>From the smallest to the largest value.</summary>
    MinMax,

    /// <summary>The shrunken range that has the least Σ|error|^2.4, see <see cref="GroupQuantizer.SearchRange"/>.</summary>
    LeastError,
}

/// <summary>
/// The arithmetic of group-quantized weights: s = (max − min)/(2^b − 1) with 0 in the range, rounded to F16 before anything is computed
/// with it; Z = clamp(round(−min/s)), q = clamp(round(w/s) + Z), w ≈ s(q − Z) (Q-DiT, Chen et al. 2024, equation 1).
/// </summary>
/// <remarks>In fp32, with true divisions; halves round to even. The same values give the same codes at every vector width.</remarks>
public static class GroupQuantizer
{
    /// <summary>Ranges that <see cref="SearchRange"/> tries: 1, 0.99, ... 0.01 of the full one.</summary>
    public const int SearchSteps = 100;

    /// <summary>Below this, F16 loses precision.</summary>
    private const float SmallestNormalHalf = 6.103515625e-5f;

    private static int Lanes => Vector256<float>.Count;

    /// <summary>Scale and zero point of a range.</summary>
    /// <param name="min">Smallest value of the group.</param>
    /// <param name="max">Largest value of the group.</param>
    /// <param name="bits">2 to 8.</param>
    /// <returns>s, positive and finite; Z below 2^bits. Ranges too wide or too narrow for F16 take the nearest scale that exists.</returns>
    public static (Half Scale, byte Zero) Range(float min, float max, int bits)
    {
        min = MathF.Min(min, 0);
        max = MathF.Max(max, 0);
        var maxCode = (1 << bits) - 1;
        // Halves first: the difference of two finite numbers may overflow.
        var exact = (max / 2 - min / 2) / maxCode * 2;
        var scale = (Half)MathF.Min(exact, (float)Half.MaxValue);
        // Where F16 has few digits, rounding down could cut a good part of the range off.
        if (exact < SmallestNormalHalf && (float)scale < exact) scale = Half.BitIncrement(scale);
        // A group of zeros: any scale does.
        if (scale == Half.Zero) scale = Half.Epsilon;
        var zero = MathF.Round(-min / (float)scale);
        return (scale, (byte)Math.Clamp(zero, 0, maxCode));
    }

    /// <summary>Scale and zero point of a group.</summary>
    /// <param name="group">w, finite, at least one.</param>
    /// <param name="bits">2 to 8.</param>
    /// <param name="rule">How the range is found.</param>
    public static (Half Scale, byte Zero) FindRange(ReadOnlySpan<float> group, int bits, RangeRule rule = RangeRule.MinMax) =>
        rule == RangeRule.LeastError ? SearchRange(group, bits) : Range(TensorPrimitives.Min(group), TensorPrimitives.Max(group), bits);

    /// <summary>
    /// Shrinks the range of a group in 100 steps and keeps the one with the least Σ|w − s(q − Z)|^2.4; the wider one where two are equal.
    /// </summary>
    /// <param name="group">w, finite, at least one.</param>
    /// <param name="bits">2 to 8.</param>
    public static (Half Scale, byte Zero) SearchRange(ReadOnlySpan<float> group, int bits)
    {
        var (min, max) = (TensorPrimitives.Min(group), TensorPrimitives.Max(group));
        var best = Range(min, max, bits);
        var least = Error(group, best.Scale, best.Zero, bits);
        for (var step = 1; step < SearchSteps; step++)
        {
            var part = 1 - (float)step / SearchSteps;
            var candidate = Range(min * part, max * part, bits);
            var error = Error(group, candidate.Scale, candidate.Zero, bits);
            if (error < least) (least, best) = (error, candidate);
        }

        return best;
    }

    /// <summary>Quantizes the values of a group: q = clamp(round(w/s) + Z, 0, 2^bits − 1).</summary>
    /// <param name="group">w, finite.</param>
    /// <param name="scale">s.</param>
    /// <param name="zero">Z.</param>
    /// <param name="bits">2 to 8.</param>
    /// <param name="codes">q, as many.</param>
    public static void Quantize(ReadOnlySpan<float> group, Half scale, byte zero, int bits, Span<byte> codes)
    {
        var (s, z, maxCode) = ((float)scale, (float)zero, (float)((1 << bits) - 1));
        var i = 0;
        for (; i + 4 * Lanes <= group.Length; i += 4 * Lanes)
        {
            var low = Vector256.Narrow(Integers(group[i..], s, z, maxCode), Integers(group[(i + Lanes)..], s, z, maxCode));
            var high = Vector256.Narrow(Integers(group[(i + 2 * Lanes)..], s, z, maxCode), Integers(group[(i + 3 * Lanes)..], s, z, maxCode));
            Vector256.Narrow(low.AsUInt16(), high.AsUInt16()).CopyTo(codes[i..]);
        }

        for (; i < group.Length; i++) codes[i] = Quantize(group[i], scale, zero, bits);
    }

    /// <summary>Quantizes one value: q = clamp(round(w/s) + Z, 0, 2^bits − 1).</summary>
    public static byte Quantize(float weight, Half scale, byte zero, int bits) =>
        (byte)Math.Clamp(MathF.Round(weight / (float)scale) + zero, 0, (1 << bits) - 1);

    /// <summary>The value that a code stands for: s(q − Z).</summary>
    public static float Dequantize(byte code, Half scale, byte zero) => (float)scale * (code - zero);

    private static Vector256<int> Integers(ReadOnlySpan<float> weights, float scale, float zero, float maxCode) =>
        Vector256.ConvertToInt32Native(Codes(Vector256.Create(weights), scale, zero, maxCode));

    /// <summary>q as whole numbers in fp32.</summary>
    private static Vector256<float> Codes(Vector256<float> weights, float scale, float zero, float maxCode) => Vector256.Min(
        Vector256.Max(Vector256.Round(weights / Vector256.Create(scale)) + Vector256.Create(zero), Vector256<float>.Zero), Vector256.Create(maxCode));

    /// <summary>Σ|w − s(q − Z)|^2.4, eight chains of additions, so that it is the same on every machine.</summary>
    private static float Error(ReadOnlySpan<float> group, Half scale, byte zero, int bits)
    {
        var (s, z, maxCode) = ((float)scale, (float)zero, (float)((1 << bits) - 1));
        var sums = Vector256<float>.Zero;
        var i = 0;
        for (; i + Lanes <= group.Length; i += Lanes) sums += Error(Vector256.Create(group[i..]), s, z, maxCode);
        if (i < group.Length)
        {
            // Zeros fill the last vector up: they are represented exactly.
            Span<float> rest = stackalloc float[Vector256<float>.Count];
            rest.Clear();
            group[i..].CopyTo(rest);
            sums += Error(Vector256.Create<float>(rest), s, z, maxCode);
        }

        var sum = 0f;
        for (var lane = 0; lane < Lanes; lane++) sum += sums[lane];
        return sum;
    }

    private static Vector256<float> Error(Vector256<float> w, float scale, float zero, float maxCode) =>
        ErrorPower.Of(Vector256.Abs(w - (Codes(w, scale, zero, maxCode) - Vector256.Create(zero)) * Vector256.Create(scale)));
}

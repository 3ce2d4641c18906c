using System.Runtime.CompilerServices;
using DiTRuntime.Backends.Cpu.Simd;

namespace DiTRuntime.Backends.Cpu;

/// <summary>Elementary functions and fixed-order sums on vectors, the same bits at every width.</summary>
internal static unsafe class VectorMath<TSimd, TVec>
    where TSimd : struct, ISimd<TVec>
    where TVec : struct
{
    private const int SumLanes = 16;

    // 2√(2/π), and that times 0.044715.
    private const float GeluLinear = 1.59576912f, GeluCubic = 0.0713548163f;

    /// <summary>e^x to about 1 ulp; arguments are clamped to the range where the result is a normal number.</summary>
    /// <remarks>
    /// x = n·ln 2 + r, |r| ≤ ½ ln 2, e^r by its Taylor series to r⁷/7! (truncation below 6e-9), scaled by 2ⁿ. Adding 1.5·2²³
    /// rounds to the integer n and leaves it in the low mantissa bits.
    /// </remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVec Exp(TVec x)
    {
        var magic = TSimd.Broadcast(12582912f);
        x = TSimd.Max(TSimd.Min(x, TSimd.Broadcast(88f)), TSimd.Broadcast(-87f));
        var shifted = TSimd.MultiplyAdd(x, TSimd.Broadcast(1.44269504f), magic);
        var n = TSimd.Subtract(shifted, magic);
        // ln 2 in two parts; the first has zeros enough for n·ln2 to be exact.
        var r = TSimd.MultiplyAdd(n, TSimd.Broadcast(-0.693145751953125f), x);
        r = TSimd.MultiplyAdd(n, TSimd.Broadcast(-1.42860682e-6f), r);
        var p = TSimd.Broadcast(1f / 5040);
        p = TSimd.MultiplyAdd(p, r, TSimd.Broadcast(1f / 720));
        p = TSimd.MultiplyAdd(p, r, TSimd.Broadcast(1f / 120));
        p = TSimd.MultiplyAdd(p, r, TSimd.Broadcast(1f / 24));
        p = TSimd.MultiplyAdd(p, r, TSimd.Broadcast(1f / 6));
        p = TSimd.MultiplyAdd(p, r, TSimd.Broadcast(0.5f));
        p = TSimd.MultiplyAdd(p, r, TSimd.Broadcast(1f));
        p = TSimd.MultiplyAdd(p, r, TSimd.Broadcast(1f));
        return TSimd.ScaleByPowerOfTwo(p, shifted);
    }

    /// <summary>x·sigmoid(k·x) with the sigmoid's argument given: x / (1 + e^(−z)).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVec Gate(TVec x, TVec z)
    {
        var minusZ = TSimd.Subtract(TSimd.Broadcast(0f), z);
        return TSimd.Divide(x, TSimd.Add(TSimd.Broadcast(1f), Exp(minusZ)));
    }

    /// <summary>GELU, tanh form: ½x(1 + tanh u) = x·sigmoid(2u), u = √(2/π)(x + 0.044715 x³).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVec GeluTanh(TVec x)
    {
        var slope = TSimd.MultiplyAdd(TSimd.Multiply(x, x), TSimd.Broadcast(GeluCubic), TSimd.Broadcast(GeluLinear));
        return Gate(x, TSimd.Multiply(x, slope));
    }

    /// <summary>The derivative of <see cref="GeluTanh"/>: s + x·s(1 − s)·(2u)′, s = sigmoid(2u).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVec GeluTanhDerivative(TVec x)
    {
        var (one, linear) = (TSimd.Broadcast(1f), TSimd.Broadcast(GeluLinear));
        var square = TSimd.Multiply(x, x);
        var minusZ = TSimd.Multiply(TSimd.Subtract(TSimd.Broadcast(0f), x), TSimd.MultiplyAdd(square, TSimd.Broadcast(GeluCubic), linear));
        var e = Exp(minusZ);
        var s = TSimd.Divide(one, TSimd.Add(one, e));
        // 1 − s as e·s, without cancellation.
        var xs = TSimd.Multiply(TSimd.Multiply(x, s), TSimd.Multiply(e, s));
        return TSimd.MultiplyAdd(xs, TSimd.MultiplyAdd(square, TSimd.Broadcast(3 * GeluCubic), linear), s);
    }

    /// <summary>Applies an activation; the switch is on a value that is the same for a whole operation.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVec Apply(Activation activation, TVec x) => activation switch
    {
        Activation.Relu => TSimd.Max(x, TSimd.Broadcast(0f)),
        Activation.Silu => Gate(x, x),
        Activation.GeluTanh => GeluTanh(x),
        _ => x,
    };

    /// <summary>Loads up to a vector's worth of floats, zero beyond.</summary>
    public static TVec LoadPartial(float* source, int count)
    {
        var staging = stackalloc float[SumLanes];
        for (var i = 0; i < count; i++) staging[i] = source[i];
        return TSimd.Load(staging);
    }

    /// <summary>Stores the first lanes of a vector.</summary>
    public static void StorePartial(TVec value, float* destination, int count)
    {
        var staging = stackalloc float[SumLanes];
        TSimd.Store(value, staging);
        for (var i = 0; i < count; i++) destination[i] = staging[i];
    }

    /// <summary>The largest value.</summary>
    public static float Max(float* values, int count)
    {
        var max = values[0];
        var i = 0;
        if (count >= TSimd.Lanes)
        {
            var m = TSimd.Load(values);
            for (i = TSimd.Lanes; i <= count - TSimd.Lanes; i += TSimd.Lanes) m = TSimd.Max(m, TSimd.Load(values + i));
            var lanes = stackalloc float[SumLanes];
            TSimd.Store(m, lanes);
            for (var lane = 0; lane < TSimd.Lanes; lane++) max = MathF.Max(max, lanes[lane]);
        }

        for (; i < count; i++) max = MathF.Max(max, values[i]);
        return max;
    }

    /// <summary>Σ values over 16 running sums, element i in sum i mod 16, then pairwise.</summary>
    public static float Sum(float* values, int count)
    {
        TVec s0 = default, s1 = default, s2 = default, s3 = default;
        var lanes = TSimd.Lanes;
        var i = 0;
        for (; i <= count - SumLanes; i += SumLanes)
        {
            s0 = TSimd.Add(s0, TSimd.Load(values + i));
            if (lanes <= 8) s1 = TSimd.Add(s1, TSimd.Load(values + i + lanes));
            if (lanes > 4) continue;
            s2 = TSimd.Add(s2, TSimd.Load(values + i + 2 * lanes));
            s3 = TSimd.Add(s3, TSimd.Load(values + i + 3 * lanes));
        }

        var sums = stackalloc float[SumLanes];
        Spill(sums, s0, s1, s2, s3);
        for (; i < count; i++) sums[i % SumLanes] += values[i];
        return Combine(sums);
    }

    /// <summary>Σ (values − center)², in the order of <see cref="Sum"/>.</summary>
    public static float SumOfSquares(float* values, int count, float center)
    {
        TVec s0 = default, s1 = default, s2 = default, s3 = default;
        var lanes = TSimd.Lanes;
        var c = TSimd.Broadcast(center);
        var i = 0;
        for (; i <= count - SumLanes; i += SumLanes)
        {
            var d0 = TSimd.Subtract(TSimd.Load(values + i), c);
            s0 = TSimd.MultiplyAdd(d0, d0, s0);
            if (lanes <= 8)
            {
                var d1 = TSimd.Subtract(TSimd.Load(values + i + lanes), c);
                s1 = TSimd.MultiplyAdd(d1, d1, s1);
            }

            if (lanes > 4) continue;
            var d2 = TSimd.Subtract(TSimd.Load(values + i + 2 * lanes), c);
            s2 = TSimd.MultiplyAdd(d2, d2, s2);
            var d3 = TSimd.Subtract(TSimd.Load(values + i + 3 * lanes), c);
            s3 = TSimd.MultiplyAdd(d3, d3, s3);
        }

        var sums = stackalloc float[SumLanes];
        Spill(sums, s0, s1, s2, s3);
        for (; i < count; i++)
        {
            var d = values[i] - center;
            sums[i % SumLanes] = MathF.FusedMultiplyAdd(d, d, sums[i % SumLanes]);
        }

        return Combine(sums);
    }

    private static void Spill(float* sums, TVec s0, TVec s1, TVec s2, TVec s3)
    {
        var lanes = TSimd.Lanes;
        TSimd.Store(s0, sums);
        if (lanes <= 8) TSimd.Store(s1, sums + lanes);
        if (lanes > 4) return;
        TSimd.Store(s2, sums + 2 * lanes);
        TSimd.Store(s3, sums + 3 * lanes);
    }

    private static float Combine(float* sums)
    {
        for (var half = SumLanes / 2; half > 0; half /= 2)
            for (var i = 0; i < half; i++)
                sums[i] += sums[i + half];
        return sums[0];
    }
}

using System.Runtime.Intrinsics;

namespace DiTRuntime.Quantization;

/// <summary>x^2.4 for errors, by the million: 2^(2.4·log₂x) with polynomials that are right to 2·10⁻⁵.</summary>
/// <remarks>Every machine performs the same IEEE operations, so that a search ends with the same range everywhere.</remarks>
internal static class ErrorPower
{
    /// <summary>The power: between squares and cubes, it spares outliers (GPTQ's range search).</summary>
    public const float Power = 2.4f;

    private const int MantissaBits = 23;
    private const int ExponentBias = 127;

    /// <summary>x^2.4.</summary>
    /// <param name="x">At least 0, finite. A power outside 2^−126 to 2^128 counts as the nearest inside.</param>
    public static Vector256<float> Of(Vector256<float> x)
    {
        var bits = x.AsInt32();
        var exponent = Vector256.ConvertToSingle((bits >> MantissaBits) - Vector256.Create(ExponentBias));
        var mantissa = ((bits & Vector256.Create((1 << MantissaBits) - 1)) | Vector256.Create(ExponentBias << MantissaBits)).AsSingle();
        var y = (exponent + Log2(mantissa - Vector256<float>.One)) * Vector256.Create(Power);
        y = Vector256.Clamp(y, Vector256.Create(1f - ExponentBias), Vector256.Create((float)ExponentBias));
        var whole = Vector256.Floor(y);
        var scale = (Vector256.ConvertToInt32Native(whole) + Vector256.Create(ExponentBias)) << MantissaBits;
        return Exp2(y - whole) * scale.AsSingle();
    }

    /// <summary>log₂(1 + t), 0 ≤ t &lt; 1: t times the polynomial that meets log₂(1 + t)/t at Chebyshev's points; error 7.4·10⁻⁶.</summary>
    private static Vector256<float> Log2(Vector256<float> t)
    {
        var p = Vector256.Create(-0.033822046f);
        p = Vector256.FusedMultiplyAdd(p, t, Vector256.Create(0.144471096f));
        p = Vector256.FusedMultiplyAdd(p, t, Vector256.Create(-0.30163801f));
        p = Vector256.FusedMultiplyAdd(p, t, Vector256.Create(0.468658879f));
        p = Vector256.FusedMultiplyAdd(p, t, Vector256.Create(-0.720358773f));
        p = Vector256.FusedMultiplyAdd(p, t, Vector256.Create(1.44268147f));
        return p * t;
    }

    /// <summary>2^t, 0 ≤ t &lt; 1: 1 + t times the polynomial that meets (2^t − 1)/t at Chebyshev's points; error 7.4·10⁻⁶.</summary>
    private static Vector256<float> Exp2(Vector256<float> t)
    {
        var p = Vector256.Create(0.0127631139f);
        p = Vector256.FusedMultiplyAdd(p, t, Vector256.Create(0.0534410293f));
        p = Vector256.FusedMultiplyAdd(p, t, Vector256.Create(0.240647048f));
        p = Vector256.FusedMultiplyAdd(p, t, Vector256.Create(0.693133993f));
        return Vector256.FusedMultiplyAdd(p, t, Vector256<float>.One);
    }
}

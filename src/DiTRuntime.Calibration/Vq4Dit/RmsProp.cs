namespace DiTRuntime.Calibration.Vq4Dit;

/// <summary>RMSprop (Tieleman and Hinton 2012): v ← αv + (1 − α)g², p ← p − η·g/√v.</summary>
/// <remarks>
/// α is that of VQ4DiT's published code. The gradient of one logit out of millions is far below the 1e-8 that optimizers add to √v, which would turn the steps of large layers into nothing; what is
/// added here only keeps 0/0 away.
/// </remarks>
internal static class RmsProp
{
    private const float Decay = 0.9f, Epsilon = 1e-20f;

    /// <summary>Takes a step of one parameter.</summary>
    /// <param name="parameter">in/out p.</param>
    /// <param name="moment">in/out v.</param>
    /// <param name="gradient">g.</param>
    /// <param name="rate">η.</param>
    public static void Step(ref float parameter, ref float moment, float gradient, float rate)
    {
        moment = Decay * moment + (1 - Decay) * gradient * gradient;
        parameter -= rate * gradient / (MathF.Sqrt(moment) + Epsilon);
    }

    /// <summary>Takes a step of several parameters.</summary>
    /// <param name="parameters">in/out p [n].</param>
    /// <param name="moments">in/out v [n].</param>
    /// <param name="gradients">g [n].</param>
    /// <param name="rate">η.</param>
    public static void Step(Span<float> parameters, Span<float> moments, ReadOnlySpan<float> gradients, float rate)
    {
        for (var i = 0; i < gradients.Length; i++) Step(ref parameters[i], ref moments[i], gradients[i], rate);
    }
}

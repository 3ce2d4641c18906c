namespace DiTRuntime.Backends.Cpu;

/// <summary>[cos(t·w), sin(t·w)]: the angle in fp32, as the published code computes it, its cosine and sine in fp64.</summary>
internal static class HostTimestepFeatures
{
    /// <param name="timesteps">t [R].</param>
    /// <param name="frequencies">w [half].</param>
    /// <param name="features">[R, 2·half].</param>
    public static void Write(ReadOnlySpan<int> timesteps, ReadOnlySpan<float> frequencies, Span<float> features)
    {
        var half = frequencies.Length;
        for (var row = 0; row < timesteps.Length; row++)
        {
            for (var i = 0; i < half; i++)
            {
                var (sin, cos) = Math.SinCos(timesteps[row] * frequencies[i]);
                features[2 * row * half + i] = (float)cos;
                features[(2 * row + 1) * half + i] = (float)sin;
            }
        }
    }
}

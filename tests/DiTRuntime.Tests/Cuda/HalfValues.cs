namespace DiTRuntime.Tests.Cuda;

/// <summary>What lies on the device in f16.</summary>
internal static class HalfValues
{
    /// <summary>The nearest halves, so that a kernel and its reference start from the same numbers.</summary>
    public static float[] Rounded(float[] values) => Array.ConvertAll(values, v => (float)(Half)v);

    /// <summary>Channels-last rows as the decoder's tensors hold them: padded to a multiple of 8, here with NaN, which must not leak.</summary>
    public static float[] Padded(float[] values, int channels)
    {
        var stride = Stride(channels);
        var padded = new float[values.Length / channels * stride];
        Array.Fill(padded, float.NaN);
        for (var i = 0; i < values.Length; i++) padded[i / channels * stride + i % channels] = values[i];
        return padded;
    }

    /// <summary>The values without the padding.</summary>
    public static float[] Unpadded(float[] padded, int channels)
    {
        var stride = Stride(channels);
        var values = new float[padded.Length / stride * channels];
        for (var i = 0; i < values.Length; i++) values[i] = padded[i / channels * stride + i % channels];
        return values;
    }

    public static int Stride(int channels) => (channels + 7) / 8 * 8;

    /// <summary>Each value is within half a unit in the last place of f16 (2⁻¹¹ of it) and <paramref name="absolute"/> of the one expected.</summary>
    public static void AssertClose(float[] actual, float[] expected, double absolute)
    {
        Assert.That(actual, Has.Length.EqualTo(expected.Length));
        for (var i = 0; i < expected.Length; i++)
        {
            // Written so that NaN fails.
            if (!(Math.Abs((double)actual[i] - expected[i]) <= Math.Abs(expected[i]) / 2048 + absolute))
                Assert.Fail($"value {i} is {actual[i]}, expected {expected[i]}");
        }
    }
}

namespace DiTRuntime.Models;

/// <summary>The fixed sin-cos positions of the patches on their grid.</summary>
public static class PositionEmbedding
{
    /// <summary>Most tokens a sample may have: 2048×2048 pixels at patch 2. Bounds what a configuration can make us allocate.</summary>
    public const int MaxTokenCount = 16_384;

    private const double Base = 10_000;

    /// <summary>
    /// pos_embed [side·side, H]: for the token in row r and column c, with ωⱼ = 10000^(−j/(H/4)),
    /// [sin(c ω), cos(c ω), sin(r ω), cos(r ω)], each H/4 long; computed in double, rounded once.
    /// </summary>
    /// <param name="hiddenSize">H, a multiple of 4.</param>
    /// <param name="side">Patches along each side of the latent.</param>
    /// <returns>Row-major values.</returns>
    public static float[] Compute(int hiddenSize, int side)
    {
        if (hiddenSize % 4 != 0) throw new ArgumentException($"{hiddenSize} is no multiple of 4", nameof(hiddenSize));
        var quarter = hiddenSize / 4;
        var axis = new float[side * 2 * quarter];
        for (var position = 0; position < side; position++)
        {
            var row = axis.AsSpan(position * 2 * quarter, 2 * quarter);
            for (var j = 0; j < quarter; j++)
            {
                var (sin, cos) = Math.SinCos(position / Math.Pow(Base, (double)j / quarter));
                row[j] = (float)sin;
                row[quarter + j] = (float)cos;
            }
        }

        var positions = new float[side * side * hiddenSize];
        for (var token = 0; token < side * side; token++)
        {
            var destination = positions.AsSpan(token * hiddenSize, hiddenSize);
            axis.AsSpan(token % side * 2 * quarter, 2 * quarter).CopyTo(destination);
            axis.AsSpan(token / side * 2 * quarter, 2 * quarter).CopyTo(destination[(2 * quarter)..]);
        }

        return positions;
    }

    /// <summary>Checks that patches tile a latent.</summary>
    /// <param name="inputSize">S, side of the latent.</param>
    /// <param name="patchSize">p, side of a patch.</param>
    /// <exception cref="UsageException">They do not, or the tokens are too many.</exception>
    public static void CheckInputSize(int inputSize, int patchSize)
    {
        if (Problem(inputSize, patchSize) is { } problem) throw new UsageException(problem);
    }

    /// <summary>What is wrong with a latent's side, or null.</summary>
    internal static string? Problem(int inputSize, int patchSize)
    {
        if (inputSize < patchSize || inputSize % patchSize != 0)
            return $"a latent of {inputSize}×{inputSize} is not tiled by patches of {patchSize}×{patchSize}; its side must be a multiple of {patchSize}";
        long side = inputSize / patchSize;
        return side * side > MaxTokenCount ? $"a latent of {inputSize}×{inputSize} makes {side * side} tokens; at most {MaxTokenCount} are supported" : null;
    }
}

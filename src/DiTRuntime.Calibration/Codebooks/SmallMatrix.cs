namespace DiTRuntime.Calibration.Codebooks;

/// <summary>Matrices of a few rows, in fp64, given and taken row-major.</summary>
internal static class SmallMatrix
{
    /// <summary>The inverse of an upper triangular matrix.</summary>
    /// <param name="size">d.</param>
    /// <param name="element">U[a, b], b ≥ a.</param>
    /// <returns>U⁻¹ [d, d], upper triangular.</returns>
    public static float[] InverseOfUpper(int size, Func<int, int, double> element)
    {
        var inverse = new float[size * size];
        for (var column = 0; column < size; column++)
        {
            // U x = e_column, from below.
            var x = new double[size];
            for (var row = column; row >= 0; row--)
            {
                var sum = row == column ? 1.0 : 0;
                for (var k = row + 1; k <= column; k++) sum -= element(row, k) * x[k];
                x[row] = sum / element(row, row);
                inverse[row * size + column] = (float)x[row];
            }
        }

        return inverse;
    }

    /// <summary>The Cholesky factor of a symmetric, positive definite matrix A = L Lᵀ.</summary>
    /// <param name="size">d.</param>
    /// <param name="element">A[a, b].</param>
    /// <returns>L, and L⁻ᵀ = A⁻¹L, both [d, d].</returns>
    public static (float[] Factor, float[] TransposedInverse) Factor(int size, Func<int, int, double> element)
    {
        var lower = new double[size * size];
        for (var row = 0; row < size; row++)
        {
            for (var column = 0; column <= row; column++)
            {
                var sum = element(row, column);
                for (var k = 0; k < column; k++) sum -= lower[row * size + k] * lower[column * size + k];
                lower[row * size + column] = row == column ? Math.Sqrt(Math.Max(sum, double.Epsilon)) : sum / lower[column * size + column];
            }
        }

        // Lᵀ is upper triangular.
        return (Array.ConvertAll(lower, value => (float)value), InverseOfUpper(size, (a, b) => lower[b * size + a]));
    }
}

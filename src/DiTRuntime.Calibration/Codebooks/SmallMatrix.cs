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
}

using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Calibration.Numerics;

/// <summary>GPTQ as the paper's algorithm states it, without blocks, in double precision: invert, factor, then column by column.</summary>
internal static class NaiveGptq
{
    /// <summary>W after quantization, [N, K].</summary>
    public static double[,] Quantize(float[,] weights, double[,] dampedHessian, GroupFormat format)
    {
        var (rows, columns) = (weights.GetLength(0), weights.GetLength(1));
        var upper = UpperFactorOfInverse(dampedHessian);
        var w = new double[rows, columns];
        Array.Copy(weights, w, weights.Length);
        var result = new double[rows, columns];
        var grid = format.Grid(columns);
        for (var row = 0; row < rows; row++)
        {
            var (scale, zero) = (default(Half), (byte)0);
            for (var i = 0; i < columns; i++)
            {
                if (i % grid.Size == 0)
                {
                    var group = Enumerable.Range(i, grid.Length(i / grid.Size)).Select(k => (float)w[row, k]).ToArray();
                    (scale, zero) = GroupQuantizer.Range(group.Min(), group.Max(), format.Bits);
                }

                var code = Math.Clamp(Math.Round(w[row, i] / (double)scale) + zero, 0, format.MaxCode);
                result[row, i] = (double)scale * (code - zero);
                var error = (w[row, i] - result[row, i]) / upper[i, i];
                for (var k = i; k < columns; k++) w[row, k] -= error * upper[i, k];
            }
        }

        return result;
    }

    /// <summary>U with UᵀU = H⁻¹, through the inverse.</summary>
    public static double[,] UpperFactorOfInverse(double[,] h)
    {
        var size = h.GetLength(0);
        var inverse = Inverse(h);
        var upper = new double[size, size];
        for (var i = 0; i < size; i++)
        {
            for (var j = i; j < size; j++)
            {
                var sum = inverse[i, j];
                for (var k = 0; k < i; k++) sum -= upper[k, i] * upper[k, j];
                upper[i, j] = i == j ? Math.Sqrt(sum) : sum / upper[i, i];
            }
        }

        return upper;
    }

    /// <summary>Gauss and Jordan, with pivots from the diagonal: H is positive definite.</summary>
    private static double[,] Inverse(double[,] h)
    {
        var size = h.GetLength(0);
        var a = (double[,])h.Clone();
        var inverse = new double[size, size];
        for (var i = 0; i < size; i++) inverse[i, i] = 1;
        for (var pivot = 0; pivot < size; pivot++)
        {
            var divisor = a[pivot, pivot];
            for (var j = 0; j < size; j++) (a[pivot, j], inverse[pivot, j]) = (a[pivot, j] / divisor, inverse[pivot, j] / divisor);
            for (var i = 0; i < size; i++)
            {
                var factor = a[i, pivot];
                if (i == pivot || factor == 0) continue;
                for (var j = 0; j < size; j++)
                {
                    a[i, j] -= factor * a[pivot, j];
                    inverse[i, j] -= factor * inverse[pivot, j];
                }
            }
        }

        return inverse;
    }
}

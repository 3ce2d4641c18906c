using System.Runtime.Intrinsics;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Quantizing;

/// <summary>Codes of a weight, one a byte, with their scales and zero points.</summary>
/// <param name="Codes">q [N, K].</param>
/// <param name="Scales">s [N, G].</param>
/// <param name="Zeros">Z [N, G].</param>
internal sealed record GroupCodes(byte[] Codes, Half[] Scales, byte[] Zeros);

/// <summary>
/// GPTQ (Frantar et al. 2023, algorithm 1): column i is rounded, and its error e = (w_i − q_i)/U_ii changes the columns after it by −e·U_i,
/// which makes up for it as far as the inputs' correlations allow. Columns are taken in their own order.
/// </summary>
internal static unsafe class Gptq
{
    /// <summary>λ as a part of the mean of H's diagonal.</summary>
    public const double DampingRatio = 0.01;

    /// <summary>Columns whose errors reach the columns after them in one product.</summary>
    public const int BlockColumns = 128;

    /// <summary>Rows of a task.</summary>
    private const int TaskRows = 16;

    /// <summary>Quantizes a weight.</summary>
    /// <param name="workers">Who computes.</param>
    /// <param name="weights">in W [N, K]; out the changed weights, which are of no further use.</param>
    /// <param name="factor">U of the layer's inputs.</param>
    /// <param name="format">Bits and groups.</param>
    /// <param name="rule">How ranges are found.</param>
    public static GroupCodes Quantize(Workers workers, Matrix weights, InverseFactor factor, GroupFormat format, RangeRule rule)
    {
        var (rowCount, inputs) = (weights.RowCount, weights.ColumnCount);
        var groupCount = format.Grid(inputs).Count;
        var result = new GroupCodes(new byte[rowCount * inputs], new Half[rowCount * groupCount], new byte[rowCount * groupCount]);
        ClearDeadColumns(weights, factor);
        using var errorBuffer = new NativeBuffer((long)rowCount * BlockColumns * sizeof(float));
        var errors = errorBuffer.Floats;
        foreach (var (start, end) in Blocks(format.Grid(inputs)))
        {
            var (from, to) = (start, end);
            workers.For((rowCount + TaskRows - 1) / TaskRows, task =>
            {
                for (var row = task * TaskRows; row < Math.Min(rowCount, (task + 1) * TaskRows); row++)
                {
                    QuantizeBlock(row, from, to, weights.Row(row), factor, format, rule, errors + (nint)row * BlockColumns, result);
                }
            });
            if (to == inputs) break;
            Propagate(workers, new Matrix(errors, rowCount, to - from, BlockColumns), factor.Values.Rows(from, to - from).Columns(to, inputs - to), weights.Columns(to, inputs - to));
        }

        return result;
    }

    /// <summary>Nothing depends on these weights, and without them the ranges of their groups are narrower.</summary>
    private static void ClearDeadColumns(Matrix weights, InverseFactor factor)
    {
        for (var column = 0; column < factor.Size; column++)
        {
            if (!factor.IsDead(column)) continue;
            for (var row = 0; row < weights.RowCount; row++) weights.Row(row)[column] = 0;
        }
    }

    /// <summary>
    /// Cuts the columns into blocks of at most 128 such that a group begins with a block or lies within one. Then, where a group begins, every column of it
    /// has received all errors before it, and its range is that of the weights it is used for.
    /// </summary>
    private static IEnumerable<(int Start, int End)> Blocks(GroupGrid grid)
    {
        var span = grid.Size < BlockColumns ? BlockColumns / grid.Size * grid.Size : grid.Size;
        for (var start = 0; start < grid.RowLength; start += span)
        {
            var end = Math.Min(grid.RowLength, start + span);
            for (var block = start; block < end; block += BlockColumns) yield return (block, Math.Min(end, block + BlockColumns));
        }
    }

    /// <summary>One row of a block: rounds its columns, and corrects those after each within the block.</summary>
    private static void QuantizeBlock(int row, int from, int to, float* w, InverseFactor factor, GroupFormat format, RangeRule rule, float* errors, GroupCodes result)
    {
        var inputs = factor.Size;
        var grid = format.Grid(inputs);
        for (var i = from; i < to; i++)
        {
            var group = row * grid.Count + i / grid.Size;
            if (i % grid.Size == 0) (result.Scales[group], result.Zeros[group]) = GroupQuantizer.FindRange(new ReadOnlySpan<float>(w + i, grid.Length(i / grid.Size)), format.Bits, rule);
            var code = GroupQuantizer.Quantize(w[i], result.Scales[group], result.Zeros[group], format.Bits);
            result.Codes[row * inputs + i] = code;
            var u = factor.Values.Row(i);
            var error = (w[i] - GroupQuantizer.Dequantize(code, result.Scales[group], result.Zeros[group])) / u[i];
            errors[i - from] = error;
            Correct(w, u, -error, i + 1, to);
        }
    }

    /// <summary>w[k] += factor·u[k] for from ≤ k &lt; to.</summary>
    public static void Correct(float* w, float* u, float factor, int from, int to)
    {
        var k = from;
        var factors = Vector256.Create(factor);
        for (; k + Vector256<float>.Count <= to; k += Vector256<float>.Count)
            Vector256.Store(Vector256.FusedMultiplyAdd(factors, Vector256.Load(u + k), Vector256.Load(w + k)), w + k);
        for (; k < to; k++) w[k] = MathF.FusedMultiplyAdd(factor, u[k], w[k]);
    }

    /// <summary>What a block's errors do to all columns after it: W −= E·U.</summary>
    public static void Propagate(Workers workers, Matrix errors, Matrix factor, Matrix weights) =>
        MatrixProduct.Run(workers, errors, factor, (float* sums, int stride, in Tile tile) =>
        {
            for (var r = 0; r < tile.RowCount; r++)
            {
                var row = weights.Row(tile.Row + r) + tile.Column;
                for (var c = 0; c < tile.ColumnCount; c++) row[c] -= sums[r * stride + c];
            }
        });
}

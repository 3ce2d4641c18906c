using DiTRuntime.Backends.Training;

namespace DiTRuntime.Backends.Cpu;

/// <summary>
/// The three products of a linear layer whose weight changes with every step: operands are packed anew, and then go through the tiles of
/// <see cref="Linear"/>. Bound: multiply-adds; packing is one pass over the operands.
/// </summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    /// <summary>Side of the blocks in which a matrix is transposed: a cache line.</summary>
    private const int LineFloats = 16;

    private NativeBuffer? _weightPanels, _transposed, _noBias;

    /// <inheritdoc/>
    public override void Multiply(LinearProduct product, Tensor left, Tensor right, Tensor result, bool adds = false)
    {
        TensorCheck.Multiply(this, product, left, right, result);
        var (depth, stride) = (left.RowLength, left.RowLength);
        var rows = Floats(left);
        if (product == LinearProduct.WeightGradient)
        {
            depth = left.RowCount;
            // Tokens are often a power of two; rows so far apart would share the sets of the first cache.
            stride = (DivideUp(depth, LineFloats) + 1) * LineFloats;
            rows = Transpose(Floats(left), left.RowCount, left.RowLength, stride);
        }

        var width = result.RowLength;
        var panelCount = DivideUp(width, PanelWidth);
        var panels = Grow(ref _weightPanels, (long)panelCount * depth * PanelWidth * sizeof(float)).Floats;
        Pool.Run(new PackMatrixJob { Values = Floats(right), Width = width, Depth = depth, Transposes = product == LinearProduct.Output, Panels = panels }, panelCount);
        var bias = Grow(ref _noBias, (long)panelCount * PanelWidth * sizeof(float)).Floats;
        RunPanels(rows, stride, result.RowCount, depth, panels, new OutputTarget(Floats(result), width, bias, adds ? Epilogue.Residual : Epilogue.None, result));
        KeepAlive(left, right, result);
    }

    private float* Transpose(float* values, int rowCount, int columnCount, int stride)
    {
        var transposed = Grow(ref _transposed, (long)columnCount * stride * sizeof(float)).Floats;
        var job = new TransposeJob { Values = values, RowCount = rowCount, ColumnCount = columnCount, Transposed = transposed, Stride = stride };
        Pool.Run(job, DivideUp(columnCount, LineFloats));
        return transposed;
    }

    /// <summary>One panel of B [depth, width], or of Bᵀ; columns past the last keep what they held, and their sums are never stored.</summary>
    private struct PackMatrixJob : IJob
    {
        public float* Values;
        public int Width;
        public int Depth;
        public bool Transposes;
        public float* Panels;

        public readonly void Execute(int task, byte* scratch)
        {
            var first = task * PanelWidth;
            var count = Math.Min(PanelWidth, Width - first);
            var panel = Panels + (long)task * Depth * PanelWidth;
            if (Transposes)
            {
                for (var block = 0; block < Depth; block += LineFloats)
                    TransposeBlock(Values + (long)first * Depth + block, Depth, count, Math.Min(LineFloats, Depth - block), panel + (long)block * PanelWidth, PanelWidth);
                return;
            }

            for (var k = 0; k < Depth; k++)
                new ReadOnlySpan<float>(Values + (long)k * Width + first, count).CopyTo(new Span<float>(panel + (long)k * PanelWidth, count));
        }
    }

    /// <summary>Some neighbouring columns become rows.</summary>
    private struct TransposeJob : IJob
    {
        public float* Values;
        public int RowCount;
        public int ColumnCount;
        public float* Transposed;
        public int Stride;

        public readonly void Execute(int task, byte* scratch)
        {
            var column = task * LineFloats;
            var columns = Math.Min(LineFloats, ColumnCount - column);
            for (var row = 0; row < RowCount; row += LineFloats)
                TransposeBlock(
                    Values + (long)row * ColumnCount + column, ColumnCount, Math.Min(LineFloats, RowCount - row), columns,
                    Transposed + (long)column * Stride + row, Stride);
        }
    }

    /// <summary>A block so narrow that both sides of the transposition stay in the first cache.</summary>
    private static void TransposeBlock(float* values, long stride, int rowCount, int columnCount, float* transposed, long transposedStride)
    {
        for (var row = 0; row < rowCount; row++, values += stride)
        {
            var target = transposed + row;
            for (var column = 0; column < columnCount; column++, target += transposedStride) *target = values[column];
        }
    }
}

using DiTRuntime.Backends.Cpu.LowBit;

namespace DiTRuntime.Backends.Cpu;

/// <summary>
/// fp32 inputs times packed weights: a panel's block is expanded to fp32 in the second cache, used for all rows of the task, and
/// forgotten. Bound: multiply-adds with many rows, expansion with few.
/// </summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    private void RunWeightOnly(float* input, int rowCount, CpuGroupLinear layer, in Epilogue epilogue, Tensor output)
    {
        var job = new WeightOnlyJob
        {
            Input = input,
            RowCount = rowCount,
            Layer = layer,
            Target = new OutputTarget(Floats(output), layer.Outputs, layer.Bias, epilogue, output),
        };
        var panels = DivideUp(layer.Outputs, PanelWidth);
        Pool.Run(job, panels * DivideUp(rowCount, TaskRows), checked((DepthBlock + TaskRows) * PanelWidth * sizeof(float)));
    }

    private struct WeightOnlyJob : IJob
    {
        public float* Input;
        public int RowCount;
        public CpuGroupLinear Layer;
        public OutputTarget Target;

        public readonly void Execute(int task, byte* scratch)
        {
            var panels = DivideUp(Layer.Outputs, PanelWidth);
            var firstColumn = task % panels * PanelWidth;
            var columns = Math.Min(PanelWidth, Layer.Outputs - firstColumn);
            var firstRow = task / panels * TaskRows;
            var rowCount = Math.Min(TaskRows, RowCount - firstRow);
            var panel = (float*)scratch;
            var sums = panel + DepthBlock * PanelWidth;
            var rows = stackalloc float*[TileRows];
            for (var k = 0; k < Layer.Inputs; k += DepthBlock)
            {
                var depth = Math.Min(DepthBlock, Layer.Inputs - k);
                new Span<float>(panel, depth * PanelWidth).Clear();
                for (var column = 0; column < columns; column++) Expand(firstColumn + column, k, depth, panel + column);
                for (var row = 0; row < rowCount; row += TileRows)
                {
                    for (var r = 0; r < TileRows; r++)
                        rows[r] = Input + (long)(firstRow + Math.Min(row + r, rowCount - 1)) * Layer.Inputs + k;
                    PanelProduct<TSimd, TVec>.Multiply(rows, depth, panel, sums + row * PanelWidth, PanelWidth, first: k == 0);
                }
            }

            Target.Store(sums, PanelWidth, firstColumn, columns, firstRow, rowCount);
        }

        /// <summary>w = s(q − Z) for one row of W, into a column of the panel.</summary>
        private readonly void Expand(int output, int firstInput, int count, float* column)
        {
            var grid = Layer.Grid;
            for (var k = firstInput; k < firstInput + count;)
            {
                // Blocks begin and end inside groups where those do not divide them.
                var group = k / grid.Size;
                var end = Math.Min(Math.Min(grid.Start(group) + grid.Length(group), firstInput + count), Layer.Inputs);
                var (scale, zero) = (Layer.Scales[output * grid.Count + group], (int)Layer.Zeros[output * grid.Count + group]);
                for (; k < end; k += CodeReader.Step)
                {
                    var codes = Layer.Codes + (long)output * Layer.RowBytes + (long)k * Layer.Bits / 8;
                    var left = Math.Min(CodeReader.Step, end - k);
                    var eight = left == CodeReader.Step ? CodeReader.ReadEight(codes, Layer.Bits) : CodeReader.ReadLast(codes, Layer.Bits, left);
                    for (var i = 0; i < left; i++, eight >>= 8)
                        column[(k - firstInput + i) * PanelWidth] = scale * ((int)(eight & 0xff) - zero);
                }

                k = end;
            }
        }
    }
}

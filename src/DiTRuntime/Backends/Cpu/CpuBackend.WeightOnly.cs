using DiTRuntime.Backends.Cpu.LowBit;

namespace DiTRuntime.Backends.Cpu;

/// <summary>
/// fp32 inputs times packed weights: a panel's block is expanded to fp32 in the second cache, used for all rows of the task, and
/// forgotten. Bound: multiply-adds with many rows, expansion with few.
/// </summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    /// <summary>Depth of an expanded block: with 48 columns of fp32, 216 KB, which share the second cache with the sums of all rows of a task.</summary>
    private const int ExpandedDepth = 1152;

    private void RunWeightOnly(float* input, int rowCount, CpuPackedLinear layer, in OutputTarget target)
    {
        var job = new WeightOnlyJob
        {
            Input = input,
            RowCount = rowCount,
            Layer = layer,
            Target = target,
        };
        var panels = DivideUp(layer.Outputs, PanelWidth);
        Pool.Run(job, panels * DivideUp(rowCount, TaskRows), checked((ExpandedDepth + TaskRows) * PanelWidth * sizeof(float) + layer.ScratchBytes));
    }

    private struct WeightOnlyJob : IJob
    {
        public float* Input;
        public int RowCount;
        public CpuPackedLinear Layer;
        public OutputTarget Target;

        public readonly void Execute(int task, byte* scratch)
        {
            var panels = DivideUp(Layer.Outputs, PanelWidth);
            var firstColumn = task % panels * PanelWidth;
            var columns = Math.Min(PanelWidth, Layer.Outputs - firstColumn);
            var firstRow = task / panels * TaskRows;
            var rowCount = Math.Min(TaskRows, RowCount - firstRow);
            var panel = (float*)scratch;
            var sums = panel + ExpandedDepth * PanelWidth;
            var work = (byte*)(sums + TaskRows * PanelWidth);
            var blockDepth = Layer.BlockDepth(ExpandedDepth);
            // Columns past the last are multiplied too, though never stored.
            if (columns < PanelWidth) new Span<float>(panel, ExpandedDepth * PanelWidth).Clear();
            for (var k = 0; k < Layer.Inputs; k += blockDepth)
            {
                var depth = Math.Min(blockDepth, Layer.Inputs - k);
                Layer.FillFloats(firstColumn, columns, k, depth, panel, PanelWidth, work);
                for (var row = 0; row < rowCount; row += RowBlock)
                {
                    var count = Math.Min(RowBlock, rowCount - row);
                    var block = sums + row * PanelWidth;
                    MultiplyRows(Input + (long)(firstRow + row) * Layer.Inputs + k, Layer.Inputs, count, depth, panel, block, first: k == 0);
                    // Stored while they are in the first cache.
                    if (k + depth == Layer.Inputs) Target.Store(block, PanelWidth, firstColumn, columns, firstRow + row, count);
                }
            }
        }
    }
}

using DiTRuntime.Backends.Cpu.LowBit;

namespace DiTRuntime.Backends.Cpu;

/// <summary>y = epilogue(x Wᵀ + b). Bound: multiply-adds; compared with the register-only peak in bench.</summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    /// <summary>Rows that share one pass over a panel's block: their sums stay in the first cache.</summary>
    private const int RowBlock = 128;

    /// <summary>Depth of a panel's block: with 48 columns of fp32, 216 KB, which stays in the second cache.</summary>
    private const int DepthBlock = 1152;

    /// <summary>Rows of a task, where there are enough panels to keep the threads busy.</summary>
    private const int TaskRows = 512;

    /// <inheritdoc/>
    public override void Linear(Tensor input, PreparedLinear layer, in Epilogue epilogue, Tensor output)
    {
        TensorCheck.Linear(this, input, layer, epilogue, output);
        if (input is CpuActivations quantized)
        {
            RunGroupLinear(quantized, TensorCheck.Prepared<CpuPackedLinear>(layer), epilogue, output);
        }
        else
        {
            var floats = Staging(output);
            RunFloats(Floats(input), input.RowCount, layer, epilogue, output, floats);
            FinishStaging(floats, output);
        }

        KeepAlive(input, layer, output, epilogue.Gate?.Table, epilogue.Gate?.RowOfSample);
    }

    /// <summary>A layer whose input is in floating point; its sums go to <paramref name="floats"/>, in the output or on their way there.</summary>
    private void RunFloats(float* input, int rowCount, PreparedLinear layer, in Epilogue epilogue, Tensor output, float* floats)
    {
        if (layer is CpuPackedLinear packed)
        {
            RunWeightOnly(input, rowCount, packed, new OutputTarget(floats, packed.Outputs, packed.Bias, epilogue, output));
            return;
        }

        var dense = TensorCheck.Prepared<CpuLinear>(layer);
        RunPanels(input, dense.Inputs, rowCount, dense.Inputs, dense.Panels, new OutputTarget(floats, dense.Outputs, dense.Bias, epilogue, output));
    }

    /// <summary>Rows times panels.</summary>
    /// <param name="input">in [rowCount, inputStride], of which depth values are read.</param>
    /// <param name="inputStride">Values from one row to the next.</param>
    /// <param name="rowCount">Rows.</param>
    /// <param name="depth">Length of the product.</param>
    /// <param name="panels">in [⌈width/PanelWidth⌉, depth, PanelWidth].</param>
    /// <param name="target">Takes the sums.</param>
    private void RunPanels(float* input, int inputStride, int rowCount, int depth, float* panels, in OutputTarget target)
    {
        var job = new LinearJob
        {
            Input = input,
            InputStride = inputStride,
            RowCount = rowCount,
            Depth = depth,
            Panels = panels,
            PanelCount = DivideUp(target.Width, PanelWidth),
            Target = target,
        };
        job.TaskRows = SplitRows(TaskRows, rowCount, job.PanelCount);
        Pool.Run(job, job.PanelCount * DivideUp(job.RowCount, job.TaskRows), RowBlock * PanelWidth * sizeof(float));
    }

    /// <summary>Rows of a task: halved until there are tasks enough for all threads.</summary>
    private int SplitRows(int taskRows, int rowCount, int columnBlocks)
    {
        while (taskRows > RowBlock / 2 && columnBlocks * DivideUp(rowCount, taskRows) < 4 * ThreadCount) taskRows /= 2;
        return taskRows;
    }

    /// <summary>sums (+)= rows × a panel's block, tile by tile.</summary>
    /// <param name="input">in [rowCount, inputStride], of which depth values are read.</param>
    /// <param name="inputStride">Values from one row to the next.</param>
    /// <param name="rowCount">Rows.</param>
    /// <param name="depth">Length of the product.</param>
    /// <param name="panel">in [depth, PanelWidth].</param>
    /// <param name="sums">in/out [rowCount rounded up to whole tiles, PanelWidth].</param>
    /// <param name="first">Whether the sums start here, and they hold nothing yet.</param>
    private static void MultiplyRows(float* input, int inputStride, int rowCount, int depth, float* panel, float* sums, bool first)
    {
        var rows = stackalloc float*[TileRows];
        for (var row = 0; row < rowCount; row += TileRows)
        {
            // Rows past the end repeat the last one; their sums are never stored.
            for (var r = 0; r < TileRows; r++) rows[r] = input + (long)Math.Min(row + r, rowCount - 1) * inputStride;
            PanelProduct<TSimd, TVec>.Multiply(rows, depth, panel, sums + row * PanelWidth, PanelWidth, first);
        }
    }

    /// <summary>One panel of outputs for some hundreds of rows.</summary>
    private struct LinearJob : IJob
    {
        public float* Input;
        public int InputStride;
        public int RowCount;
        public int Depth;
        public float* Panels;
        public int PanelCount;
        public int TaskRows;
        public OutputTarget Target;

        public readonly void Execute(int task, byte* scratch)
        {
            var panelIndex = task % PanelCount;
            var firstRow = task / PanelCount * TaskRows;
            var endRow = Math.Min(firstRow + TaskRows, RowCount);
            var sums = (float*)scratch;
            for (; firstRow < endRow; firstRow += RowBlock)
            {
                var rows = Math.Min(RowBlock, endRow - firstRow);
                MultiplyBlock(panelIndex, firstRow, rows, sums);
                Target.Store(sums, PanelWidth, panelIndex * PanelWidth, Math.Min(PanelWidth, Target.Width - panelIndex * PanelWidth), firstRow, rows);
            }
        }

        private readonly void MultiplyBlock(int panelIndex, int firstRow, int rowCount, float* sums)
        {
            var panel = Panels + (long)panelIndex * Depth * PanelWidth;
            var input = Input + (long)firstRow * InputStride;
            for (var k = 0; k < Depth; k += DepthBlock)
                MultiplyRows(input + k, InputStride, rowCount, Math.Min(DepthBlock, Depth - k), panel + (long)k * PanelWidth, sums, first: k == 0);
        }
    }
}

using DiTRuntime.Backends.Cpu.LowBit;

namespace DiTRuntime.Backends.Cpu;

/// <summary>
/// y = Σ_g s_a s_w (Σ q_a q_w − Z_w Σ q_a − Z_a Σ q_w + |g| Z_a Z_w) + b: integer sums are exact, groups are added in ascending
/// order in fp32. Weights are unpacked from the mapped file, sixteen rows and one group at a time, and used for hundreds of rows
/// of x before they leave the first cache. Bound: integer multiply-adds.
/// </summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    /// <summary>Sums that a task keeps, in floats: 512 KB, half of a second cache.</summary>
    private const int TaskFloats = 128 << 10;

    /// <summary>Output columns of a task that stores floats, where there are enough of them for all threads.</summary>
    private const int FloatColumns = 6 * IntegerPanel.Width;

    private void RunGroupLinear(CpuActivations input, CpuPackedLinear layer, in Epilogue epilogue, Tensor output)
    {
        switch (IntegerPath)
        {
            case IntegerPath.Avx512 when layer.Bits <= DotProductAvx512.MaxBits:
                RunGroupLinear<DotProductAvx512>(input, layer, epilogue, output);
                break;
            case IntegerPath.Avx512 or IntegerPath.AvxVnni:
                RunGroupLinear<DotProductAvxVnni>(input, layer, epilogue, output);
                break;
            case IntegerPath.Avx2:
                RunGroupLinear<DotProductAvx2>(input, layer, epilogue, output);
                break;
            default:
                RunGroupLinear<DotProductPortable>(input, layer, epilogue, output);
                break;
        }
    }

    private void RunGroupLinear<TDot>(CpuActivations input, CpuPackedLinear layer, in Epilogue epilogue, Tensor output)
        where TDot : struct, IDotProduct
    {
        var quantized = output as CpuActivations;
        var job = new GroupLinearJob<TDot>
        {
            Input = new ActivationTarget(input),
            RowCount = input.RowCount,
            Layer = layer,
            ColumnCount = quantized is null ? FloatColumns : quantized.Grid.Size,
            Activation = epilogue.Activation,
        };
        if (quantized is null) job.Target = new OutputTarget(Floats(output), layer.Outputs, layer.Bias, epilogue, output);
        else job.Quantized = new ActivationTarget(quantized);

        // A task's columns are whole groups of the output, so that it can quantize them; its rows are as many as fit the cache.
        if (quantized is null)
            while (job.ColumnCount > IntegerPanel.Width && DivideUp(layer.Outputs, job.ColumnCount) < 4 * ThreadCount) job.ColumnCount -= IntegerPanel.Width;
        var blocks = DivideUp(layer.Outputs, job.ColumnCount);
        var mostRows = Math.Clamp(TaskFloats / (job.PanelsHeld * IntegerPanel.Width), 8 * TDot.TileRows, TaskRows);
        job.TaskRows = Math.Min(SplitRows(mostRows, job.RowCount, blocks), job.RowCount);
        Pool.Run(job, blocks * DivideUp(job.RowCount, job.TaskRows), job.ScratchBytes);
    }

    private struct GroupLinearJob<TDot> : IJob
        where TDot : struct, IDotProduct
    {
        public ActivationTarget Input;
        public int RowCount;
        public CpuPackedLinear Layer;
        public int ColumnCount;
        public int TaskRows;
        public Activation Activation;
        public OutputTarget Target;
        public ActivationTarget Quantized;

        /// <summary>Panels whose outputs wait for the others of their group; floats are stored one by one.</summary>
        public readonly int PanelsHeld => Quantized.Codes == null ? 1 : DivideUp(ColumnCount, IntegerPanel.Width);

        /// <summary>Outputs; then the weights' panel, its terms and what making it takes, or a row to be quantized.</summary>
        public readonly int ScratchBytes =>
            checked((PanelsHeld * (TaskRows + TDot.TileRows) + PanelsHeld + 4) * IntegerPanel.Width * sizeof(float) + PanelBytes + Layer.ScratchBytes);

        private readonly int PanelBytes => (Layer.Grid.Size + 3) / 4 * 4 * IntegerPanel.Width;

        public readonly void Execute(int task, byte* scratch)
        {
            var blocks = DivideUp(Layer.Outputs, ColumnCount);
            var firstColumn = task % blocks * ColumnCount;
            var columns = Math.Min(ColumnCount, Layer.Outputs - firstColumn);
            var firstRow = task / blocks * TaskRows;
            var rows = Math.Min(TaskRows, RowCount - firstRow);
            var outputs = (float*)scratch;
            var panelStride = (long)DivideUp(rows, TDot.TileRows) * TDot.TileRows * IntegerPanel.Width;
            var work = (byte*)(outputs + PanelsHeld * (long)(TaskRows + TDot.TileRows) * IntegerPanel.Width);
            for (var column = 0; column < columns; column += IntegerPanel.Width)
            {
                var panel = Quantized.Codes == null ? outputs : outputs + column / IntegerPanel.Width * panelStride;
                MultiplyPanel(firstColumn + column, firstRow, rows, panel, work);
                if (Quantized.Codes == null)
                    Target.Store(panel, IntegerPanel.Width, firstColumn + column, Math.Min(IntegerPanel.Width, columns - column), firstRow, rows);
            }

            if (Quantized.Codes != null) QuantizeBlock(firstColumn, columns, firstRow, rows, outputs, panelStride, (float*)work);
        }

        /// <summary>outputs [rows, 16] = the sums over all groups for sixteen columns; rows up to a whole tile are written.</summary>
        private readonly void MultiplyPanel(int firstColumn, int firstRow, int rows, float* outputs, byte* work)
        {
            var panel = (sbyte*)work;
            var columnScales = (float*)(work + PanelBytes);
            var scratch = (byte*)(columnScales + 3 * IntegerPanel.Width);
            var terms = new GroupTerms
            {
                ColumnScales = columnScales,
                ColumnZeros = (int*)columnScales + IntegerPanel.Width,
                ColumnSums = (int*)columnScales + 2 * IntegerPanel.Width,
                HasColumnZeros = Layer.LeavesZeros,
            };
            new Span<float>(outputs, DivideUp(rows, TDot.TileRows) * TDot.TileRows * IntegerPanel.Width).Clear();
            for (var group = 0; group < Layer.Grid.Count; group++)
            {
                var start = Layer.Grid.Start(group);
                var quads = DivideUp(Layer.Grid.Length(group), 4);
                Layer.FillIntegers(firstColumn, group, panel, columnScales, terms.ColumnZeros, terms.ColumnSums, scratch);
                var codes = Input.Codes + (long)firstRow * Input.CodeStride + start;
                var at = group * Input.RowStride + firstRow;
                // The last tile may reach into rows that are not its own, or into the padding; what those give is never stored.
                for (var row = 0; row < rows; row += TDot.TileRows)
                {
                    terms.RowScales = Input.Scales + at + row;
                    terms.RowZeros = Input.Zeros + at + row;
                    terms.RowSums = Input.Sums + at + row;
                    TDot.Multiply(codes + (long)row * Input.CodeStride, Input.CodeStride, quads, panel, terms, outputs + row * IntegerPanel.Width);
                }
            }
        }

        /// <summary>Bias, activation, and the codes of whole groups.</summary>
        private readonly void QuantizeBlock(int firstColumn, int columns, int firstRow, int rows, float* outputs, long panelStride, float* line)
        {
            for (var row = 0; row < rows; row++)
            {
                for (var column = 0; column < columns; column += TSimd.Lanes)
                {
                    var source = outputs + column / IntegerPanel.Width * panelStride + row * IntegerPanel.Width + column % IntegerPanel.Width;
                    var y = TSimd.Add(TSimd.Load(source), TSimd.Load(Layer.Bias + firstColumn + column));
                    TSimd.Store(VectorMath<TSimd, TVec>.Apply(Activation, y), line + column);
                }

                ActivationKernel.QuantizeGroup(line, columns, Quantized, firstRow + row, firstColumn / ColumnCount);
            }
        }
    }
}

using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
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

    /// <summary>Output columns of a task that stores floats.</summary>
    private const int FloatColumns = 2 * IntegerPanel.Width;

    private NativeBuffer? _ones;

    private void RunGroupLinear(CpuActivations input, CpuGroupLinear layer, in Epilogue epilogue, Tensor output)
    {
        switch (IntegerPath)
        {
            case IntegerPath.AvxVnni:
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

    private void RunGroupLinear<TDot>(CpuActivations input, CpuGroupLinear layer, in Epilogue epilogue, Tensor output)
        where TDot : struct, IDotProduct
    {
        var quantized = output as CpuActivations;
        var job = new GroupLinearJob<TDot>
        {
            Input = new ActivationTarget(input),
            RowCount = input.RowCount,
            Layer = layer,
            Ones = Ones(layer.Grid.Size),
            ColumnCount = quantized is null ? FloatColumns : quantized.Grid.Size,
            Activation = epilogue.Activation,
        };
        if (quantized is null) job.Target = new OutputTarget(Floats(output), layer.Outputs, layer.Bias, epilogue, output);
        else job.Quantized = new ActivationTarget(quantized);

        // A task's columns are whole groups of the output, so that it can quantize them; its rows are as many as fit the cache.
        job.TaskRows = Math.Clamp(TaskFloats / job.PaddedColumns, 8 * TDot.TileRows, TaskRows);
        var blocks = DivideUp(layer.Outputs, job.ColumnCount);
        while (job.TaskRows > RowBlock / 2 && blocks * DivideUp(job.RowCount, job.TaskRows) < 4 * ThreadCount) job.TaskRows /= 2;
        job.TaskRows = Math.Min(job.TaskRows, job.RowCount);
        Pool.Run(job, blocks * DivideUp(job.RowCount, job.TaskRows), job.ScratchBytes);
    }

    /// <summary>A row of ones, whose product with a panel is the sum of its codes.</summary>
    private byte* Ones(int count)
    {
        if (_ones is null || _ones.ByteCount < count + 4)
        {
            _ones?.Dispose();
            _ones = new NativeBuffer(count + 4);
            Unsafe.InitBlock(_ones.Start, 1, (uint)_ones.ByteCount);
        }

        return _ones.Start;
    }

    private struct GroupLinearJob<TDot> : IJob
        where TDot : struct, IDotProduct
    {
        public ActivationTarget Input;
        public int RowCount;
        public CpuGroupLinear Layer;
        public byte* Ones;
        public int ColumnCount;
        public int TaskRows;
        public Activation Activation;
        public OutputTarget Target;
        public ActivationTarget Quantized;

        public readonly int PaddedColumns => DivideUp(ColumnCount, IntegerPanel.Width) * IntegerPanel.Width;

        public readonly int ScratchBytes => checked((TaskRows * PaddedColumns + PaddedColumns) * sizeof(float) + PanelBytes + 256 * (TDot.TileRows + 4));

        private readonly int PanelBytes => (Layer.Grid.Size + 3) / 4 * 4 * IntegerPanel.Width;

        public readonly void Execute(int task, byte* scratch)
        {
            var blocks = DivideUp(Layer.Outputs, ColumnCount);
            var firstColumn = task % blocks * ColumnCount;
            var columns = Math.Min(ColumnCount, Layer.Outputs - firstColumn);
            var firstRow = task / blocks * TaskRows;
            var rows = Math.Min(TaskRows, RowCount - firstRow);
            var outputs = (float*)scratch;
            var work = scratch + (long)TaskRows * PaddedColumns * sizeof(float);
            for (var column = 0; column < columns; column += IntegerPanel.Width)
                MultiplyPanel(firstColumn + column, firstRow, rows, outputs + (long)column * rows, work);

            if (Quantized.Codes != null)
            {
                QuantizeBlock(firstColumn, columns, firstRow, rows, outputs, (float*)work);
                return;
            }

            for (var column = 0; column < columns; column += IntegerPanel.Width)
                Target.Store(outputs + (long)column * rows, IntegerPanel.Width, firstColumn + column, Math.Min(IntegerPanel.Width, columns - column), firstRow, rows);
        }

        /// <summary>outputs [rows, 16] = the sums over all groups for sixteen columns.</summary>
        private readonly void MultiplyPanel(int firstColumn, int firstRow, int rows, float* outputs, byte* work)
        {
            var panel = (sbyte*)work;
            var scales = (float*)(work + PanelBytes);
            var zeros = (int*)scales + IntegerPanel.Width;
            var weightSums = zeros + IntegerPanel.Width;
            var tile = weightSums + 2 * IntegerPanel.Width;
            var pointers = stackalloc byte*[TDot.TileRows];
            for (var group = 0; group < Layer.Grid.Count; group++)
            {
                var (start, length) = (Layer.Grid.Start(group), Layer.Grid.Length(group));
                var quads = DivideUp(length, 4);
                PanelUnpacker.Unpack(Layer, firstColumn, group, panel, scales, zeros);
                for (var r = 0; r < TDot.TileRows; r++) pointers[r] = Ones;
                TDot.Multiply(pointers, quads, panel, tile);
                for (var c = 0; c < IntegerPanel.Width; c++) weightSums[c] = tile[c] - length * zeros[c];

                for (var row = 0; row < rows; row += TDot.TileRows)
                {
                    // Rows past the end repeat the last one; their sums are not added.
                    for (var r = 0; r < TDot.TileRows; r++)
                        pointers[r] = Input.Codes + (long)(firstRow + Math.Min(row + r, rows - 1)) * Input.CodeStride + start;
                    TDot.Multiply(pointers, quads, panel, tile);
                    for (var r = 0; r < Math.Min(TDot.TileRows, rows - row); r++)
                    {
                        var at = (long)(firstRow + row + r) * Input.GroupCount + group;
                        AddGroup(tile + r * IntegerPanel.Width, scales, zeros, weightSums, at, outputs + (row + r) * IntegerPanel.Width, group == 0);
                    }
                }
            }
        }

        /// <summary>y += s_a s_w (Σ q_a q_w − Z_w Σ q_a − Z_a Σ (q_w − Z_w)).</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private readonly void AddGroup(int* tile, float* scales, int* zeros, int* weightSums, long at, float* outputs, bool first)
        {
            var scale = Vector256.Create(Input.Scales[at]);
            var zero = Vector256.Create(Input.Zeros[at]);
            var sum = Vector256.Create(Input.Sums[at]);
            for (var c = 0; c < IntegerPanel.Width; c += 8)
            {
                var total = Vector256.Load(tile + c) - zero * Vector256.Load(weightSums + c);
                if (PanelUnpacker.LeavesZeros(Layer.Bits)) total -= sum * Vector256.Load(zeros + c);
                var y = first ? Vector256<float>.Zero : Vector256.Load(outputs + c);
                Vector256.FusedMultiplyAdd(scale * Vector256.Load(scales + c), Vector256.ConvertToSingle(total), y).Store(outputs + c);
            }
        }

        /// <summary>Bias, activation, and the codes of whole groups.</summary>
        private readonly void QuantizeBlock(int firstColumn, int columns, int firstRow, int rows, float* outputs, float* line)
        {
            for (var row = 0; row < rows; row++)
            {
                for (var column = 0; column < columns; column += TSimd.Lanes)
                {
                    var source = outputs + (long)(column / IntegerPanel.Width) * IntegerPanel.Width * rows + row * IntegerPanel.Width + column % IntegerPanel.Width;
                    var y = TSimd.Add(TSimd.Load(source), TSimd.Load(Layer.Bias + firstColumn + column));
                    TSimd.Store(VectorMath<TSimd, TVec>.Apply(Activation, y), line + column);
                }

                ActivationKernel.QuantizeGroup(line, columns, Quantized, firstRow + row, firstColumn / ColumnCount);
            }
        }
    }
}

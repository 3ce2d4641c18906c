namespace DiTRuntime.Backends.Cpu;

/// <summary>Where a tile's sums go, and what happens to them on the way.</summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    /// <summary>y = activation(sum + b + residual), or y += gate·(sum + b).</summary>
    private readonly struct OutputTarget
    {
        private readonly float* _output;
        private readonly float* _residual;
        private readonly float* _bias;
        private readonly int _width;
        private readonly Activation _activation;
        private readonly float* _gateTable;
        private readonly int* _gateRows;
        private readonly int _gateTableStride;
        private readonly int _rowsPerSample;

        /// <summary>Columns of the output.</summary>
        public int Width => _width;

        /// <summary>Output of a linear layer [rows, width].</summary>
        public OutputTarget(float* output, int width, float* bias, in Epilogue epilogue, Tensor tensor)
        {
            _output = output;
            _width = width;
            _bias = bias;
            _activation = epilogue.Activation;
            _residual = epilogue.AddsToOutput ? output : null;
            if (epilogue.Gate is not { } gate) return;
            _gateTable = Floats(gate.Table) + epilogue.GateChunk * width;
            _gateRows = Integers(gate.RowOfSample);
            _gateTableStride = gate.Table.RowLength;
            _rowsPerSample = tensor.Shape[1];
        }

        /// <summary>Output of a convolution [pixels, width].</summary>
        public OutputTarget(float* output, int width, float* bias, Activation activation, float* residual)
        {
            _output = output;
            _width = width;
            _bias = bias;
            _activation = activation;
            _residual = residual;
        }

        /// <summary>Stores sums [rowCount, stride] of some neighbouring columns.</summary>
        public void Store(float* sums, int stride, int firstColumn, int columns, int firstRow, int rowCount)
        {
            var lanes = TSimd.Lanes;
            for (var r = 0; r < rowCount; r++, sums += stride)
            {
                var at = (long)(firstRow + r) * _width + firstColumn;
                var gate = _gateTable == null ? null
                    : _gateTable + (long)_gateRows[(firstRow + r) / _rowsPerSample] * _gateTableStride + firstColumn;
                var column = 0;
                for (; column <= columns - lanes; column += lanes)
                {
                    var y = TSimd.Add(TSimd.Load(sums + column), TSimd.Load(_bias + firstColumn + column));
                    if (_residual != null) y = TSimd.Add(y, TSimd.Load(_residual + at + column));
                    y = gate == null ? VectorMath<TSimd, TVec>.Apply(_activation, y)
                        : TSimd.MultiplyAdd(TSimd.Load(gate + column), y, TSimd.Load(_output + at + column));
                    TSimd.Store(y, _output + at + column);
                }

                if (column < columns) StoreTail(sums + column, at, gate, firstColumn, column, columns - column);
            }
        }

        private void StoreTail(float* sums, long at, float* gate, int firstColumn, int column, int count)
        {
            var y = TSimd.Add(TSimd.Load(sums), TSimd.Load(_bias + firstColumn + column));
            if (_residual != null) y = TSimd.Add(y, VectorMath<TSimd, TVec>.LoadPartial(_residual + at + column, count));
            y = gate == null ? VectorMath<TSimd, TVec>.Apply(_activation, y)
                : TSimd.MultiplyAdd(
                    VectorMath<TSimd, TVec>.LoadPartial(gate + column, count),
                    y,
                    VectorMath<TSimd, TVec>.LoadPartial(_output + at + column, count));
            VectorMath<TSimd, TVec>.StorePartial(y, _output + at + column, count);
        }
    }
}

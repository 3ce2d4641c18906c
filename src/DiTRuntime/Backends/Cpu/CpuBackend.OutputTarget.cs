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
            _gateRows = Rows(gate);
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
            // Rows of one sample share their gate.
            for (var row = firstRow; row < firstRow + rowCount;)
            {
                var sample = _gateTable == null ? 0 : row / _rowsPerSample;
                var end = _gateTable == null ? firstRow + rowCount : Math.Min((sample + 1) * _rowsPerSample, firstRow + rowCount);
                var gate = _gateTable == null ? null : _gateTable + (long)_gateRows[sample] * _gateTableStride;
                for (var column = 0; column < columns; column += TSimd.Lanes)
                {
                    var source = sums + (long)(row - firstRow) * stride + column;
                    var at = (long)row * _width + firstColumn + column;
                    var bias = _bias + firstColumn + column;
                    var columnGate = gate == null ? null : gate + firstColumn + column;
                    if (column + TSimd.Lanes > columns) StoreTail(source, stride, at, bias, columnGate, end - row, columns - column);
                    else if (columnGate != null) AddGated(source, stride, at, bias, columnGate, end - row);
                    else StoreColumn(source, stride, at, bias, end - row);
                }

                row = end;
            }
        }

        /// <summary>One vector of columns: y = activation(sum + b + residual).</summary>
        private void StoreColumn(float* sums, int stride, long at, float* bias, int rowCount)
        {
            var b = TSimd.Load(bias);
            for (var r = 0; r < rowCount; r++, sums += stride, at += _width)
            {
                var y = TSimd.Add(TSimd.Load(sums), b);
                if (_residual != null) y = TSimd.Add(y, TSimd.Load(_residual + at));
                TSimd.Store(VectorMath<TSimd, TVec>.Apply(_activation, y), _output + at);
            }
        }

        /// <summary>One vector of columns of one sample: y += gate·(sum + b).</summary>
        private void AddGated(float* sums, int stride, long at, float* bias, float* gate, int rowCount)
        {
            var b = TSimd.Load(bias);
            var g = TSimd.Load(gate);
            for (var r = 0; r < rowCount; r++, sums += stride, at += _width)
            {
                var y = TSimd.Add(TSimd.Load(sums), b);
                TSimd.Store(TSimd.MultiplyAdd(g, y, TSimd.Load(_output + at)), _output + at);
            }
        }

        /// <summary>The last columns of a row, fewer than a vector.</summary>
        private void StoreTail(float* sums, int stride, long at, float* bias, float* gate, int rowCount, int count)
        {
            for (var r = 0; r < rowCount; r++, sums += stride, at += _width)
            {
                var y = TSimd.Add(TSimd.Load(sums), TSimd.Load(bias));
                if (_residual != null) y = TSimd.Add(y, VectorMath<TSimd, TVec>.LoadPartial(_residual + at, count));
                y = gate == null
                    ? VectorMath<TSimd, TVec>.Apply(_activation, y)
                    : TSimd.MultiplyAdd(VectorMath<TSimd, TVec>.LoadPartial(gate, count), y, VectorMath<TSimd, TVec>.LoadPartial(_output + at, count));
                VectorMath<TSimd, TVec>.StorePartial(y, _output + at, count);
            }
        }
    }
}

namespace DiTRuntime.Backends.Cpu;

/// <summary>SiLU(t + table[y]) per table row: once per request.</summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    /// <inheritdoc/>
    public override void Condition(Tensor timestepEmbedding, Tensor labelTable, Tensor labels, Tensor condition)
    {
        TensorCheck.Condition(this, timestepEmbedding, labelTable, labels, condition);
        var job = new ConditionJob
        {
            Timesteps = Floats(timestepEmbedding),
            Table = Floats(labelTable),
            Labels = Integers(labels),
            Output = Floats(condition),
            Width = condition.RowLength,
        };
        Pool.Run(job, condition.RowCount);
        KeepAlive(timestepEmbedding, labelTable, labels, condition);
    }

    private struct ConditionJob : IJob
    {
        public float* Timesteps;
        public float* Table;
        public int* Labels;
        public float* Output;
        public int Width;

        public readonly void Execute(int task, byte* scratch)
        {
            var t = Timesteps + (long)task * Width;
            var label = Table + (long)Labels[task] * Width;
            var output = Output + (long)task * Width;
            for (var i = 0; i < Width; i += TSimd.Lanes)
            {
                var count = Math.Min(TSimd.Lanes, Width - i);
                var c = TSimd.Add(VectorMath<TSimd, TVec>.LoadPartial(t + i, count), VectorMath<TSimd, TVec>.LoadPartial(label + i, count));
                VectorMath<TSimd, TVec>.StorePartial(VectorMath<TSimd, TVec>.Gate(c, c), output + i, count);
            }
        }
    }
}

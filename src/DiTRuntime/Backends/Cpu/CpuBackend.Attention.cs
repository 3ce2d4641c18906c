namespace DiTRuntime.Backends.Cpu;

/// <summary>
/// softmax(q kᵀ/√D) v per head. Keys and values are packed once per task into panels, so both products run through
/// the tile of the linear layers; scores of one tile of queries stay in the first cache. Bound: multiply-adds.
/// </summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    /// <inheritdoc/>
    public override void Attention(Tensor qkv, int headCount, Tensor output)
    {
        TensorCheck.Attention(this, qkv, headCount, output);
        var floats = Staging(output);
        int samples = output.Shape[0], tokens = output.Shape[1], width = output.Shape[2];
        var job = new AttentionJob
        {
            Qkv = Floats(qkv),
            Output = floats,
            TokenCount = tokens,
            Width = width,
            HeadCount = headCount,
            HeadSize = width / headCount,
        };

        // A head per task; with few heads its queries are shared out, and the packing repeated.
        var most = DivideUp(tokens, 4 * TileRows);
        job.QueryParts = Math.Clamp(DivideUp(2 * ThreadCount, samples * headCount), 1, most);
        Pool.Run(job, samples * headCount * job.QueryParts, checked(job.ScratchFloats * sizeof(float)));
        FinishStaging(floats, output);
        KeepAlive(qkv, output);
    }

    private struct AttentionJob : IJob
    {
        public float* Qkv;
        public float* Output;
        public int TokenCount;
        public int Width;
        public int HeadCount;
        public int HeadSize;
        public int QueryParts;

        public readonly int KeyPanels => DivideUp(TokenCount, PanelWidth);

        public readonly int ValuePanels => DivideUp(HeadSize, PanelWidth);

        /// <summary>Floats from one token to the next: q, k and v of all heads.</summary>
        public readonly int TokenStride => 3 * Width;

        public readonly int ScoreStride => KeyPanels * PanelWidth;

        public readonly int ScratchFloats =>
            (KeyPanels * HeadSize + ValuePanels * TokenCount + TileRows) * PanelWidth + TileRows * ScoreStride;

        public readonly void Execute(int task, byte* scratch)
        {
            var part = task % QueryParts;
            var head = task / QueryParts % HeadCount;
            var sample = task / QueryParts / HeadCount;
            var q = Qkv + (long)sample * TokenCount * TokenStride + head * HeadSize;
            var keys = (float*)scratch;
            var values = keys + KeyPanels * HeadSize * PanelWidth;
            var sums = values + ValuePanels * TokenCount * PanelWidth;
            var scores = sums + TileRows * PanelWidth;
            var totals = stackalloc float[TileRows];
            PackKeys(q + Width, TokenStride, keys);
            PackValues(q + 2 * Width, TokenStride, values);

            var tiles = DivideUp(TokenCount, TileRows);
            var output = Output + (long)sample * TokenCount * Width + head * HeadSize;
            for (var tile = tiles * part / QueryParts; tile < tiles * (part + 1) / QueryParts; tile++)
            {
                var first = tile * TileRows;
                var count = Math.Min(TileRows, TokenCount - first);
                Score(q, TokenStride, first, count, keys, scores);
                for (var r = 0; r < count; r++) totals[r] = Exponentiate(scores + r * ScoreStride);
                Mix(scores, totals, count, values, sums, output + (long)first * Width, Width);
            }
        }

        /// <summary>[panels, D, width]: column t of a panel is key t, zero past the last.</summary>
        public readonly void PackKeys(float* k, int stride, float* packed)
        {
            for (var first = 0; first < ScoreStride; first += PanelWidth, packed += HeadSize * PanelWidth)
            {
                var count = Math.Min(PanelWidth, TokenCount - first);
                if (count < PanelWidth) new Span<float>(packed, HeadSize * PanelWidth).Clear();
                // A cache line of each key at a time, so that both sides of the transposition stay in the first cache.
                for (var block = 0; block < HeadSize; block += 16)
                {
                    var length = Math.Min(16, HeadSize - block);
                    var key = k + (long)first * stride + block;
                    for (var t = 0; t < count; t++, key += stride)
                    {
                        var column = packed + block * PanelWidth + t;
                        for (var d = 0; d < length; d++, column += PanelWidth) *column = key[d];
                    }
                }
            }
        }

        /// <summary>[panels, T, width]: row t of a panel is a piece of value t.</summary>
        public readonly void PackValues(float* v, int stride, float* packed)
        {
            for (var panel = 0; panel < ValuePanels; panel++)
            {
                var columns = Math.Min(PanelWidth, HeadSize - panel * PanelWidth);
                for (var t = 0; t < TokenCount; t++, packed += PanelWidth)
                {
                    new ReadOnlySpan<float>(v + (long)t * stride + panel * PanelWidth, columns).CopyTo(new Span<float>(packed, columns));
                    new Span<float>(packed + columns, PanelWidth - columns).Clear();
                }
            }
        }

        /// <summary>[TileRows, score stride]: queries first and up times packed keys.</summary>
        public readonly void Score(float* q, int stride, int first, int count, float* keys, float* scores)
        {
            var rows = stackalloc float*[TileRows];
            for (var r = 0; r < TileRows; r++) rows[r] = q + (long)(first + Math.Min(r, count - 1)) * stride;
            for (var panel = 0; panel < KeyPanels; panel++)
                PanelProduct<TSimd, TVec>.Multiply(rows, HeadSize, keys + panel * HeadSize * PanelWidth, scores + panel * PanelWidth, ScoreStride, first: true);
        }

        /// <summary>Scores s to e^((s − max)/√D), in place.</summary>
        /// <returns>Their sum.</returns>
        public readonly float Exponentiate(float* scores)
        {
            var scale = TSimd.Broadcast(1 / MathF.Sqrt(HeadSize));
            var max = TSimd.Broadcast(VectorMath<TSimd, TVec>.Max(scores, TokenCount));
            for (var t = 0; t < TokenCount; t += TSimd.Lanes)
            {
                var below = TSimd.Multiply(TSimd.Subtract(TSimd.Load(scores + t), max), scale);
                TSimd.Store(VectorMath<TSimd, TVec>.Exp(below), scores + t);
            }

            return VectorMath<TSimd, TVec>.Sum(scores, TokenCount);
        }

        /// <summary>Values mixed by their weights, divided by the weights' sum.</summary>
        public readonly void Mix(float* weights, float* totals, int count, float* values, float* sums, float* output, int outputStride)
        {
            var rows = stackalloc float*[TileRows];
            for (var r = 0; r < TileRows; r++) rows[r] = weights + Math.Min(r, count - 1) * ScoreStride;
            for (var panel = 0; panel < ValuePanels; panel++)
            {
                PanelProduct<TSimd, TVec>.Multiply(rows, TokenCount, values + (long)panel * TokenCount * PanelWidth, sums, PanelWidth, first: true);
                var columns = Math.Min(PanelWidth, HeadSize - panel * PanelWidth);
                for (var r = 0; r < count; r++)
                {
                    var reciprocal = TSimd.Broadcast(1 / totals[r]);
                    var target = output + (long)r * outputStride + panel * PanelWidth;
                    for (var j = 0; j < columns; j += TSimd.Lanes)
                    {
                        var mixed = TSimd.Multiply(TSimd.Load(sums + r * PanelWidth + j), reciprocal);
                        if (j + TSimd.Lanes <= columns) TSimd.Store(mixed, target + j);
                        else VectorMath<TSimd, TVec>.StorePartial(mixed, target + j, columns - j);
                    }
                }
            }
        }
    }
}

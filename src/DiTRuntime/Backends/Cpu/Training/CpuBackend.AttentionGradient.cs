namespace DiTRuntime.Backends.Cpu;

/// <summary>
/// With P = softmax(q kᵀ/√D) and y = P v: ∂v = Pᵀ ∂y, ∂P = ∂y vᵀ, ∂S = P∘(∂P − Σⱼ P∘∂P)/√D, ∂q = ∂S k, ∂k = ∂Sᵀ q. A head per task: a tile of queries at
/// a time for ∂q, P and ∂S kept transposed in the thread's scratch for the sums over queries. Bound: multiply-adds, 5/2 of the forward pass.
/// </summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    /// <inheritdoc/>
    public override void AttentionGradient(Tensor outputGradient, Tensor qkv, int headCount, Tensor inputGradient)
    {
        TensorCheck.AttentionGradient(this, outputGradient, qkv, headCount, inputGradient);
        var (samples, tokens, width) = (outputGradient.Shape[0], outputGradient.Shape[1], outputGradient.Shape[2]);
        var job = new AttentionGradientJob
        {
            Head = new AttentionJob { Qkv = Floats(qkv), TokenCount = tokens, Width = width, HeadCount = headCount, HeadSize = width / headCount },
            OutputGradient = Floats(outputGradient),
            InputGradient = Floats(inputGradient),
        };
        Pool.Run(job, samples * headCount, checked(job.ScratchFloats * sizeof(float)));
        KeepAlive(outputGradient, qkv, inputGradient);
    }

    private struct AttentionGradientJob : IJob
    {
        public AttentionJob Head;
        public float* OutputGradient;
        public float* InputGradient;

        /// <summary>Values with one token's after the other's, as columns of a product.</summary>
        private readonly int ByToken => Head.ValuePanels * Head.TokenCount * PanelWidth;

        /// <summary>Keys beside each other, as columns of a product.</summary>
        private readonly int ByKey => Head.KeyPanels * Head.HeadSize * PanelWidth;

        private readonly int TileFloats => TileRows * Head.ScoreStride;

        private readonly int TransposedFloats => checked(Head.TokenCount * Head.ScoreStride);

        public readonly int ScratchFloats =>
            checked(2 * ByKey + 3 * ByToken + TileRows * PanelWidth + 2 * TileFloats + Head.ScoreStride + 2 * TransposedFloats);

        public readonly void Execute(int task, byte* scratch)
        {
            var (tokens, width, stride, scoreStride) = (Head.TokenCount, Head.Width, Head.TokenStride, Head.ScoreStride);
            var column = task % Head.HeadCount * Head.HeadSize;
            var firstRow = (long)(task / Head.HeadCount) * tokens;
            var q = Head.Qkv + firstRow * stride + column;
            var outputGradient = OutputGradient + firstRow * width + column;
            var queryGradient = InputGradient + firstRow * stride + column;

            var keyColumns = (float*)scratch;
            var valueColumns = keyColumns + ByKey;
            Head.PackKeys(q + width, stride, keyColumns);
            Head.PackKeys(q + 2 * width, stride, valueColumns);
            var queries = valueColumns + ByKey;
            var keys = queries + ByToken;
            var gradients = keys + ByToken;
            Head.PackValues(q, stride, queries);
            Head.PackValues(q + width, stride, keys);
            Head.PackValues(outputGradient, width, gradients);
            var sums = gradients + ByToken;
            var p = sums + TileRows * PanelWidth;
            var ds = p + TileFloats;
            var products = ds + TileFloats;
            var transposedP = products + scoreStride;
            var transposedDs = transposedP + TransposedFloats;
            var ones = stackalloc float[TileRows];
            new Span<float>(ones, TileRows).Fill(1);

            for (var first = 0; first < tokens; first += TileRows)
            {
                var count = Math.Min(TileRows, tokens - first);
                Head.Score(q, stride, first, count, keyColumns, p);
                Head.Score(outputGradient, width, first, count, valueColumns, ds);
                for (var r = 0; r < count; r++) DifferentiateSoftmax(p + r * scoreStride, ds + r * scoreStride, products);
                Head.Mix(ds, ones, count, keys, sums, queryGradient + (long)first * stride, stride);
                Transpose(p, count, transposedP + first);
                Transpose(ds, count, transposedDs + first);
            }

            for (var first = 0; first < tokens; first += TileRows)
            {
                var count = Math.Min(TileRows, tokens - first);
                var keyGradient = queryGradient + width + (long)first * stride;
                Head.Mix(transposedDs + (long)first * scoreStride, ones, count, queries, sums, keyGradient, stride);
                Head.Mix(transposedP + (long)first * scoreStride, ones, count, gradients, sums, keyGradient + width, stride);
            }
        }

        /// <summary>Scores to probabilities and ∂P to ∂S, in place.</summary>
        private readonly void DifferentiateSoftmax(float* p, float* ds, float* products)
        {
            var reciprocal = TSimd.Broadcast(1 / Head.Exponentiate(p));
            for (var t = 0; t < Head.TokenCount; t += TSimd.Lanes)
            {
                var probability = TSimd.Multiply(TSimd.Load(p + t), reciprocal);
                TSimd.Store(probability, p + t);
                TSimd.Store(TSimd.Multiply(probability, TSimd.Load(ds + t)), products + t);
            }

            var mean = TSimd.Broadcast(VectorMath<TSimd, TVec>.Sum(products, Head.TokenCount));
            var scale = TSimd.Broadcast(1 / MathF.Sqrt(Head.HeadSize));
            for (var t = 0; t < Head.TokenCount; t += TSimd.Lanes)
                TSimd.Store(TSimd.Multiply(TSimd.Multiply(TSimd.Load(p + t), scale), TSimd.Subtract(TSimd.Load(ds + t), mean)), ds + t);
        }

        /// <summary>A tile's rows become columns of the whole.</summary>
        private readonly void Transpose(float* tile, int count, float* transposed)
        {
            for (var block = 0; block < Head.TokenCount; block += LineFloats)
                TransposeBlock(
                    tile + block, Head.ScoreStride, count, Math.Min(LineFloats, Head.TokenCount - block), transposed + (long)block * Head.ScoreStride, Head.ScoreStride);
        }
    }
}

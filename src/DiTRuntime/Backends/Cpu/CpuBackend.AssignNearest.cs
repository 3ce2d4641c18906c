namespace DiTRuntime.Backends.Cpu;

/// <summary>Nearest codewords, a chunk of the points per task. Bound: operations, 2d + 3 a vector of points and codeword.</summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    /// <inheritdoc/>
    public override void AssignNearest(Tensor points, Tensor? weights, Tensor codewords, Tensor codes, Tensor distances)
    {
        TensorCheck.AssignNearest(this, points, weights, codewords, codes, distances);
        var job = new AssignJob
        {
            Points = Floats(points),
            Weights = weights is null ? null : Floats(weights),
            Codewords = Floats(codewords),
            Codes = Integers(codes),
            Distances = Floats(distances),
            PointCount = points.Shape[0],
            CodewordCount = codewords.Shape[0],
            Length = points.Shape[1],
        };
        Pool.Run(job, DivideUp(job.PointCount, AssignJob.TaskPoints), AssignJob.ScratchBytes(job.Length));
        KeepAlive(points, weights, codewords, codes, distances);
    }

    /// <summary>Points stand in lanes, so that the sum over i and the choice among codewords run in their order whatever the width.</summary>
    private struct AssignJob : IJob
    {
        /// <summary>Points of a task.</summary>
        public const int TaskPoints = 2048;

        /// <summary>Vectors of points that take a codeword's elements from one register.</summary>
        private const int TileVectors = 4;

        public float* Points;
        public float* Weights;
        public float* Codewords;
        public int* Codes;
        public float* Distances;
        public int PointCount;
        public int CodewordCount;
        public int Length;

        private static int TilePoints => TileVectors * TSimd.Lanes;

        /// <summary>Points and weights by element [d, tile], indices and distances [tile].</summary>
        public static int ScratchBytes(int length) => (2 * length + 2) * TilePoints * sizeof(float);

        public readonly void Execute(int task, byte* scratch)
        {
            var points = (float*)scratch;
            var weights = points + Length * TilePoints;
            var indices = weights + Length * TilePoints;
            var distances = indices + TilePoints;
            var end = Math.Min(PointCount, (task + 1) * TaskPoints);
            for (var first = task * TaskPoints; first < end; first += TilePoints)
            {
                var count = Math.Min(TilePoints, end - first);
                Transpose(Points, first, count, points);
                if (Weights is null)
                {
                    Nearest<Unweighted>(points, weights, indices, distances);
                }
                else
                {
                    Transpose(Weights, first, count, weights);
                    Nearest<Weighted>(points, weights, indices, distances);
                }

                for (var i = 0; i < count; i++) Codes[first + i] = (int)indices[i];
                new ReadOnlySpan<float>(distances, count).CopyTo(new Span<float>(Distances + first, count));
            }
        }

        /// <summary>[count, d] to [d, tile]; what lies past the end counts nowhere.</summary>
        private readonly void Transpose(float* source, int first, int count, float* destination)
        {
            source += (long)first * Length;
            for (var p = 0; p < count; p++, source += Length)
                for (var i = 0; i < Length; i++) destination[i * TilePoints + p] = source[i];
        }

        private readonly void Nearest<TWeighting>(float* points, float* weights, float* indices, float* distances)
            where TWeighting : struct, IWeighting
        {
            var lanes = TSimd.Lanes;
            TVec best0, best1, best2, best3, index0 = default, index1 = default, index2 = default, index3 = default;
            best0 = best1 = best2 = best3 = TSimd.Broadcast(float.PositiveInfinity);
            var c = Codewords;
            for (var k = 0; k < CodewordCount; k++)
            {
                TVec sum0 = default, sum1 = default, sum2 = default, sum3 = default;
                for (int i = 0, at = 0; i < Length; i++, at += TileVectors * lanes)
                {
                    var element = TSimd.Broadcast(*c++);
                    var p = points + at;
                    var w = weights + at;
                    var delta = TSimd.Subtract(TSimd.Load(p), element);
                    sum0 = TSimd.MultiplyAdd(TWeighting.Weigh(delta, w), delta, sum0);
                    delta = TSimd.Subtract(TSimd.Load(p + lanes), element);
                    sum1 = TSimd.MultiplyAdd(TWeighting.Weigh(delta, w + lanes), delta, sum1);
                    delta = TSimd.Subtract(TSimd.Load(p + 2 * lanes), element);
                    sum2 = TSimd.MultiplyAdd(TWeighting.Weigh(delta, w + 2 * lanes), delta, sum2);
                    delta = TSimd.Subtract(TSimd.Load(p + 3 * lanes), element);
                    sum3 = TSimd.MultiplyAdd(TWeighting.Weigh(delta, w + 3 * lanes), delta, sum3);
                }

                var index = TSimd.Broadcast(k);
                index0 = TSimd.SelectLess(sum0, best0, index, index0);
                index1 = TSimd.SelectLess(sum1, best1, index, index1);
                index2 = TSimd.SelectLess(sum2, best2, index, index2);
                index3 = TSimd.SelectLess(sum3, best3, index, index3);
                best0 = TSimd.SelectLess(sum0, best0, sum0, best0);
                best1 = TSimd.SelectLess(sum1, best1, sum1, best1);
                best2 = TSimd.SelectLess(sum2, best2, sum2, best2);
                best3 = TSimd.SelectLess(sum3, best3, sum3, best3);
            }

            Store(indices, index0, index1, index2, index3);
            Store(distances, best0, best1, best2, best3);
        }

        private static void Store(float* destination, TVec a, TVec b, TVec c, TVec d)
        {
            TSimd.Store(a, destination);
            TSimd.Store(b, destination + TSimd.Lanes);
            TSimd.Store(c, destination + 2 * TSimd.Lanes);
            TSimd.Store(d, destination + 3 * TSimd.Lanes);
        }
    }

    private interface IWeighting
    {
        /// <summary>wδ.</summary>
        static abstract TVec Weigh(TVec delta, float* weights);
    }

    private readonly struct Unweighted : IWeighting
    {
        public static TVec Weigh(TVec delta, float* weights) => delta;
    }

    private readonly struct Weighted : IWeighting
    {
        public static TVec Weigh(TVec delta, float* weights) => TSimd.Multiply(TSimd.Load(weights), delta);
    }
}

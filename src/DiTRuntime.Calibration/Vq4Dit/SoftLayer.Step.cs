using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Vq4Dit;

/// <content>Gradients of logits and codewords, and the optimizer's step.</content>
internal sealed unsafe partial class SoftLayer
{
    /// <summary>Tiles of a layer: enough to keep the threads busy, few enough that their codebooks' gradients are small beside the weights.</summary>
    private const int TileCount = 16;

    private readonly Tile[] _tiles;

    // The size of the loss's own gradient by a logit in the last step: root mean square over the vectors that are not frozen.
    private double _gradientSize;

    /// <inheritdoc/>
    public void Step(ReadOnlySpan<float> weightGradient, ReadOnlySpan<float> biasGradient)
    {
        var sums = new TileSums[_tiles.Length];
        // The loss divides by the vectors that are not frozen; relative to the gradient that is part of the weight.
        var push = (float)(Steps.RatioLoss * _gradientSize);
        fixed (float* start = weightGradient)
        {
            var gradient = start;
            _workers.For(_tiles.Length, task => sums[task] = StepTile(_tiles[task], gradient, push));
        }

        if (Steps.Codewords > 0) StepCodewords(sums);
        if (Bias is not null && Steps.Biases > 0) RmsProp.Step(Bias, _biasMoments, biasGradient, Steps.Biases * _weightSize);
        if (_soft is null) return;
        var active = VectorCount - FrozenCount;
        FrozenCount += sums.Sum(tile => tile.Froze);
        _gradientSize = Math.Sqrt(sums.Sum(tile => tile.GradientSquares) / ((double)Math.Max(active, 1) * _soft.CandidateCount));
        RatioLoss = sums.Sum(tile => tile.Ratios) / Math.Max(VectorCount - FrozenCount, 1);
        if (FrozenCount > HardeningShare * VectorCount) Harden();
    }

    /// <summary>Steps the logits of a tile, and collects ∂C[c] = Σ over (vector, m: aₘ = c) of rₘ g.</summary>
    private TileSums StepTile(in Tile tile, float* gradient, float push)
    {
        var (d, size) = (_format.VectorLength, _format.CodebookSize);
        var sums = new TileSums { Codewords = Steps.Codewords > 0 ? new float[tile.BookCount * size * d] : [] };
        for (var row = tile.FirstRow; row < tile.FirstRow + tile.RowCount; row++)
        {
            var scale = _rowScales?[row] ?? 1;
            for (var j = tile.FirstPosition; j < tile.FirstPosition + tile.PositionCount; j++)
            {
                var (vector, book) = (row * _positions + j, BookOf(row, j));
                var g = new ReadOnlySpan<float>(gradient + (nint)row * Inputs + (nint)j * d, d);
                if (sums.Codewords.Length > 0) AddCodewords(sums.Codewords.AsSpan((book - tile.FirstBook) * size * d, size * d), vector, g, scale);
                if (_soft is not null && !_soft.Frozen[vector]) StepLogits(_soft, vector, book, g, scale, push, ref sums);
            }
        }

        return sums;
    }

    private void AddCodewords(Span<float> sums, int vector, ReadOnlySpan<float> g, float scale)
    {
        if (_soft is null)
        {
            Add(sums.Slice(_codes[vector] * g.Length, g.Length), g, scale);
            return;
        }

        var n = _soft.CandidateCount;
        for (var m = vector * n; m < (vector + 1) * n; m++)
            if (_soft.Ratios[m] != 0) Add(sums.Slice(_soft.Codes[m] * g.Length, g.Length), g, scale * _soft.Ratios[m]);
    }

    private static void Add(Span<float> sum, ReadOnlySpan<float> g, float factor)
    {
        for (var i = 0; i < g.Length; i++) sum[i] += factor * g[i];
    }

    /// <summary>
    /// ∂zₘ = rₘ (eₘ − Σⱼ rⱼ eⱼ) with eₘ = ∂L/∂rₘ: g·C[aₘ] of the loss, and 1 − 2rₘ of the ratio loss Σ r(1 − r).
    /// </summary>
    private void StepLogits(SoftAssignments soft, int vector, int book, ReadOnlySpan<float> g, float scale, float push, ref TileSums sums)
    {
        var n = soft.CandidateCount;
        var ratios = soft.Ratios.AsSpan(vector * n, n);
        Span<float> products = stackalloc float[n];
        float mean = 0, ratioMean = 0;
        for (var m = 0; m < n; m++)
        {
            var codeword = Codeword(book, soft.Codes[vector * n + m]);
            float product = 0;
            for (var i = 0; i < g.Length; i++) product += g[i] * codeword[i];
            products[m] = scale * product;
            mean += ratios[m] * products[m];
            ratioMean += ratios[m] * (1 - 2 * ratios[m]);
        }

        for (var m = 0; m < n; m++)
        {
            var own = ratios[m] * (products[m] - mean);
            sums.GradientSquares += (double)own * own;
            var place = vector * n + m;
            RmsProp.Step(ref soft.Logits[place], ref soft.Moments[place], own + push * ratios[m] * (1 - 2 * ratios[m] - ratioMean), Steps.Logits);
        }

        var best = soft.Normalize(vector);
        if (ratios[best] > SoftAssignments.FreezingRatio)
        {
            soft.Freeze(vector, best);
            sums.Froze++;
        }
        else sums.Ratios += RatioLossOf(ratios);
    }

    private void StepCodewords(TileSums[] sums)
    {
        var gradient = new float[_vectors.Length];
        var (d, bookLength) = (_format.VectorLength, _format.CodebookSize * _format.VectorLength);
        for (var t = 0; t < sums.Length; t++)
        {
            var part = sums[t].Codewords;
            for (var entry = 0; entry < part.Length / d; entry++)
            {
                var vector = VectorOf(_tiles[t].FirstBook, entry);
                for (var i = 0; i < d; i++) gradient[vector * d + i] += part[entry * d + i];
            }
        }

        RmsProp.Step(_vectors, _vectorMoments, gradient, Steps.Codewords * _codewordSize);
    }

    private double MeasureRatios(Tile tile)
    {
        double sum = 0;
        var n = _soft!.CandidateCount;
        for (var row = tile.FirstRow; row < tile.FirstRow + tile.RowCount; row++)
            for (var j = tile.FirstPosition; j < tile.FirstPosition + tile.PositionCount; j++) sum += RatioLossOf(_soft.Ratios.AsSpan((row * _positions + j) * n, n));
        return sum;
    }

    private static double RatioLossOf(ReadOnlySpan<float> ratios)
    {
        float sum = 0;
        foreach (var ratio in ratios) sum += ratio * (1 - ratio);
        return sum;
    }

    /// <summary>Rows of one part; or, where every position has its own codebook, positions.</summary>
    private static Tile[] TilesOf(CodebookWeight weight)
    {
        var format = weight.Format;
        var positions = format.VectorsPerRow(weight.Inputs);
        var tiles = new List<Tile>();
        if (format.IsProduct)
        {
            var width = (positions + TileCount - 1) / TileCount;
            for (var first = 0; first < positions; first += width)
                tiles.Add(new Tile(0, weight.Outputs, first, Math.Min(width, positions - first), first, Math.Min(width, positions - first)));
            return [.. tiles];
        }

        var partRows = weight.Outputs / format.Parts;
        var tileParts = Math.Max(1, TileCount / format.Parts);
        var height = (partRows + tileParts - 1) / tileParts;
        for (var part = 0; part < format.Parts; part++)
            for (var first = 0; first < partRows; first += height)
                tiles.Add(new Tile(part * partRows + first, Math.Min(height, partRows - first), 0, positions, part, 1));
        return [.. tiles];
    }

    /// <summary>Vectors that one task steps.</summary>
    private readonly record struct Tile(int FirstRow, int RowCount, int FirstPosition, int PositionCount, int FirstBook, int BookCount);

    /// <summary>What a tile adds to the layer's sums.</summary>
    private struct TileSums
    {
        public float[] Codewords;
        public double GradientSquares, Ratios;
        public int Froze;
    }
}

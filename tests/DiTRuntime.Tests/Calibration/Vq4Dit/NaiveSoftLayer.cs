using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Calibration.Vq4Dit;

/// <summary>A soft layer in double precision by the formulas, for small layers: what it makes of logits and codewords that are given.</summary>
internal sealed class NaiveSoftLayer
{
    private readonly CodebookWeight _start;
    private readonly int _n, _positions, _d;

    public NaiveSoftLayer(CodebookWeight start, LinearWeight original, int candidateCount, bool equalRatios)
    {
        (_start, _n, _d) = (start, candidateCount, start.Format.VectorLength);
        _positions = start.Format.VectorsPerRow(start.Inputs);
        Vectors = [.. start.Vectors.ToArray().Select(value => (double)(float)value)];
        Candidates = new int[start.Outputs * _positions * _n];
        Logits = new double[Candidates.Length];
        var weights = new float[start.Outputs * start.Inputs];
        original.CopyRows(0, start.Outputs, weights);
        var codes = new ushort[_positions];
        for (var v = 0; v < start.Outputs * _positions; v++)
        {
            var (row, position) = (v / _positions, v % _positions);
            BitPacking.Unpack(start.Codes.Slice(row * start.Format.RowBytes(start.Inputs), start.Format.RowBytes(start.Inputs)), start.Format.CodeBits, 0, codes);
            double Distance(int code) => Math.Sqrt(Enumerable.Range(0, _d).Sum(i => Math.Pow(weights[row * start.Inputs + position * _d + i] / (double)start.RowScale(row) - Codeword(v, code, i), 2)));
            int[] nearest = [codes[position], .. Enumerable.Range(0, start.Format.CodebookSize).Where(code => code != codes[position]).OrderBy(Distance).Take(_n - 1)];
            nearest.CopyTo(Candidates, v * _n);
            for (var m = 0; m < _n && !equalRatios; m++) Logits[v * _n + m] = Math.Log(1 / (Distance(nearest[m]) + 1e-5));
            Logits[v * _n] = Logits.AsSpan(v * _n, _n).ToArray().Max();
        }
    }

    /// <summary>A [vectors, n].</summary>
    public int[] Candidates { get; }

    /// <summary>z [vectors, n].</summary>
    public double[] Logits { get; set; }

    /// <summary>C, or the pool.</summary>
    public double[] Vectors { get; }

    /// <summary>Ŵ [N, K].</summary>
    public double[] Weight()
    {
        var weight = new double[_start.Outputs * _start.Inputs];
        for (var v = 0; v < _start.Outputs * _positions; v++)
        {
            var ratios = Ratios(v);
            for (var i = 0; i < _d; i++)
                for (var m = 0; m < _n; m++) weight[v * _d + i] += _start.RowScale(v / _positions) * ratios[m] * Codeword(v, Candidates[v * _n + m], i);
        }

        return weight;
    }

    /// <summary>Σ r(1 − r).</summary>
    public double RatioSum() => Enumerable.Range(0, _start.Outputs * _positions).Sum(v => Ratios(v).Sum(r => r * (1 - r)));

    /// <summary>R of a vector.</summary>
    public double[] Ratios(int vector)
    {
        var powers = Logits.Skip(vector * _n).Take(_n).Select(Math.Exp).ToArray();
        return [.. powers.Select(power => power / powers.Sum())];
    }

    private double Codeword(int vector, int code, int i) => Vectors[_start.VectorOf(_start.BookOf(vector / _positions, vector % _positions), code) * _d + i];
}

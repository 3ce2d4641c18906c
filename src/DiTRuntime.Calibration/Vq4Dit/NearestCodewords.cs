using System.Numerics;

namespace DiTRuntime.Calibration.Vq4Dit;

/// <summary>Finds the codewords of one codebook that are nearest to a vector.</summary>
/// <remarks>Codewords lie transposed, so that a vector register holds one coordinate of several of them. Sums run over the coordinates in order: the same bits at every register width.</remarks>
internal sealed class NearestCodewords
{
    private readonly float[] _transposed;
    private readonly int _count, _stride, _length;

    /// <param name="codewords">[k, d].</param>
    /// <param name="length">d.</param>
    public NearestCodewords(ReadOnlySpan<float> codewords, int length)
    {
        (_length, _count) = (length, codewords.Length / length);
        _stride = (_count + Vector<float>.Count - 1) / Vector<float>.Count * Vector<float>.Count;
        _transposed = new float[_stride * length];
        for (var c = 0; c < _count; c++)
            for (var i = 0; i < length; i++) _transposed[i * _stride + c] = codewords[c * length + i];
    }

    /// <summary>Floats of scratch memory that a search wants.</summary>
    public int ScratchLength => _stride;

    /// <summary>Finds the nearest, nearest first; of equals the one with the smaller number.</summary>
    /// <param name="vector">in [d].</param>
    /// <param name="scratch">out ‖vector − C[c]‖² of every codeword, and what follows is of no use.</param>
    /// <param name="codes">out [n], n at most k.</param>
    public void Find(ReadOnlySpan<float> vector, Span<float> scratch, Span<ushort> codes)
    {
        for (var first = 0; first < _stride; first += Vector<float>.Count)
        {
            var sum = Vector<float>.Zero;
            for (var i = 0; i < _length; i++)
            {
                var difference = new Vector<float>(_transposed, i * _stride + first) - new Vector<float>(vector[i]);
                sum += difference * difference;
            }

            sum.CopyTo(scratch[first..]);
        }

        var found = 0;
        for (var c = 0; c < _count; c++)
        {
            var distance = scratch[c];
            if (found == codes.Length && distance >= scratch[codes[^1]]) continue;
            var place = found < codes.Length ? found++ : found - 1;
            for (; place > 0 && scratch[codes[place - 1]] > distance; place--) codes[place] = codes[place - 1];
            codes[place] = (ushort)c;
        }
    }
}

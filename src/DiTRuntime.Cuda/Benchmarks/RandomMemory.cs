using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Benchmarks;

/// <summary>Fills device memory with random values; zeros would be faster to multiply than real data.</summary>
/// <param name="backend">Whose stream does it.</param>
internal sealed class RandomMemory(CudaBackend backend)
{
    private const int PieceCount = 1 << 20;

    private readonly Half[] _piece = Array.ConvertAll(SyntheticLayers.Values(PieceCount, 17), value => (Half)value);

    /// <summary>Writes halves: a random piece, then what is there again and again.</summary>
    /// <param name="destination">Where to.</param>
    /// <param name="count">How many.</param>
    public void FillHalves(DevicePointer destination, long count)
    {
        var filled = Math.Min(count, PieceCount);
        backend.Staging.Upload<Half>(_piece.AsSpan(0, (int)filled), destination);
        while (filled < count)
        {
            var more = Math.Min(filled, count - filled);
            backend.Stream.Copy(destination, destination + 2 * filled, 2 * more);
            filled += more;
        }
    }
}

namespace DiTRuntime.Serving.KServe;

/// <summary>Bounds the memory of large bodies that are being read at once. Safe for any thread.</summary>
/// <param name="byteCount">Bytes for all of them.</param>
internal sealed class BodyBudget(long byteCount)
{
    private long _left = byteCount;

    /// <summary>Sets memory aside.</summary>
    /// <returns>False when there is not as much left.</returns>
    public bool TryTake(long bytes)
    {
        if (Interlocked.Add(ref _left, -bytes) >= 0) return true;
        GiveBack(bytes);
        return false;
    }

    /// <summary>Frees what was set aside.</summary>
    public void GiveBack(long bytes) => Interlocked.Add(ref _left, bytes);
}

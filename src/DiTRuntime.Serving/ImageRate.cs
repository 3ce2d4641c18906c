using DiTRuntime.Models.Scheduling;

namespace DiTRuntime.Serving;

/// <summary>Images a second over the last half minute.</summary>
internal sealed class ImageRate(TimeProvider time) : ISchedulerObserver
{
    private const int WindowSeconds = 30;

    private readonly Lock _lock = new();
    private readonly int[] _countOfSecond = new int[WindowSeconds];
    private readonly long _started = time.GetTimestamp();
    private long _second;

    /// <summary>Images that were finished in the window, over its length (or over the time since the start).</summary>
    public double PerSecond
    {
        get
        {
            lock (_lock)
            {
                Advance();
                return _countOfSecond.Sum() / Math.Clamp(time.GetElapsedTime(_started).TotalSeconds, 1, WindowSeconds);
            }
        }
    }

    /// <inheritdoc/>
    public void ImageFinished()
    {
        lock (_lock)
        {
            Advance();
            _countOfSecond[_second % WindowSeconds]++;
        }
    }

    private void Advance()
    {
        var now = (long)time.GetElapsedTime(_started).TotalSeconds;
        for (var passed = Math.Min(now - _second, WindowSeconds); passed > 0; passed--) _countOfSecond[(now - passed + 1) % WindowSeconds] = 0;
        _second = now;
    }
}

using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Benchmarks;

/// <summary>Times work in a stream by events: what the device took, gaps between launches included.</summary>
/// <param name="device">The stream's device.</param>
/// <param name="stream">Where the work is queued.</param>
internal sealed class StreamTimer(IGpuDevice device, GpuStream stream)
{
    private const int WarmUps = 3;

    /// <summary>Times launches as a graph of several, so that the host's part of a launch stays out of the time.</summary>
    /// <param name="launches">Each queues one launch of the same size; together they touch more memory than the second cache holds.</param>
    /// <param name="rounds">Times to take.</param>
    /// <returns>Milliseconds of one launch.</returns>
    public TimeSpread Launches(IReadOnlyList<Action> launches, int rounds)
    {
        // Kernels are loaded, scratch memory grows and libraries choose their ways outside the recording.
        foreach (var launch in launches) launch();
        stream.Synchronize();
        using var graph = stream.Capture(() =>
        {
            foreach (var launch in launches) launch();
        });
        return Rounds(() => stream.Launch(graph), rounds) / launches.Count;
    }

    /// <summary>Times repetitions of work that is queued without waiting for the device.</summary>
    /// <returns>Milliseconds of one repetition.</returns>
    public TimeSpread Rounds(Action work, int rounds)
    {
        var marks = new List<GpuEvent>();
        try
        {
            for (var i = 0; i < WarmUps; i++) work();
            for (var i = 0; i <= rounds; i++)
            {
                marks.Add(device.CreateEvent());
                if (i > 0) work();
                stream.Record(marks[i]);
            }

            stream.Synchronize();
            return TimeSpread.Of(Enumerable.Range(1, rounds).Select(i => (double)marks[i].MillisecondsSince(marks[i - 1])));
        }
        finally
        {
            stream.Synchronize();
            foreach (var mark in marks) mark.Dispose();
        }
    }
}

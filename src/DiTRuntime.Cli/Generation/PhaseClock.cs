using System.Diagnostics;

namespace DiTRuntime.Cli.Generation;

/// <summary>Phases of a run, as the summary reports them.</summary>
internal enum Phase
{
    /// <summary>Opening and preparing model and decoder.</summary>
    Load,

    /// <summary>The sampling steps.</summary>
    Sampling,

    /// <summary>Latents to pixels.</summary>
    Decode,

    /// <summary>Encoding and writing files.</summary>
    Write,
}

/// <summary>Attributes the time that passes to phases.</summary>
internal sealed class PhaseClock
{
    private readonly TimeSpan[] _spent = new TimeSpan[Enum.GetValues<Phase>().Length];
    private long _last = Stopwatch.GetTimestamp();

    /// <summary>Attributes the time since the last call (or since the clock was made) to a phase.</summary>
    public void Lap(Phase phase)
    {
        var now = Stopwatch.GetTimestamp();
        _spent[(int)phase] += Stopwatch.GetElapsedTime(_last, now);
        _last = now;
    }

    /// <summary>Seconds spent in a phase.</summary>
    public double Seconds(Phase phase) => _spent[(int)phase].TotalSeconds;
}

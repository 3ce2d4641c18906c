using System.Diagnostics;

namespace DiTRuntime.Calibration.Training;

/// <summary>
/// When a training's state is due: as soon as writing it again costs no more than its share of the time. An iteration of a large block takes many times what its state does, so each is saved
/// and a kill loses one at most; short ones are saved a few times a second.
/// </summary>
/// <param name="share">Part of the time that states may take; 1 saves after every iteration.</param>
internal sealed class SavePace(double share = SavePace.DefaultShare)
{
    /// <summary>A tenth.</summary>
    public const double DefaultShare = 0.1;

    private long _saved = Stopwatch.GetTimestamp();
    private TimeSpan _cost;

    /// <summary>Whether a state may be saved now.</summary>
    public bool IsDue => share * Stopwatch.GetElapsedTime(_saved) >= (1 - share) * _cost;

    /// <summary>Saves, and takes the time.</summary>
    public void Save(Action save)
    {
        var start = Stopwatch.GetTimestamp();
        save();
        _saved = Stopwatch.GetTimestamp();
        _cost = Stopwatch.GetElapsedTime(start, _saved);
    }
}

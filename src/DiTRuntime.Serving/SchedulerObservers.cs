using DiTRuntime.Models.Scheduling;

namespace DiTRuntime.Serving;

/// <summary>Several observers of a scheduler as one.</summary>
internal sealed class SchedulerObservers : ISchedulerObserver
{
    private readonly ISchedulerObserver[] _observers;

    private SchedulerObservers(ISchedulerObserver[] observers) => _observers = observers;

    /// <summary>All of them as one; null where there are none.</summary>
    public static ISchedulerObserver? Of(ISchedulerObserver[] observers) => observers.Length switch
    {
        0 => null,
        1 => observers[0],
        _ => new SchedulerObservers(observers),
    };

    /// <inheritdoc/>
    public void Queued(TimeSpan waited)
    {
        foreach (var observer in _observers) observer.Queued(waited);
    }

    /// <inheritdoc/>
    public void StepTaken(TimeSpan duration, int rows)
    {
        foreach (var observer in _observers) observer.StepTaken(duration, rows);
    }

    /// <inheritdoc/>
    public void Decoded(TimeSpan duration)
    {
        foreach (var observer in _observers) observer.Decoded(duration);
    }

    /// <inheritdoc/>
    public void ImageFinished()
    {
        foreach (var observer in _observers) observer.ImageFinished();
    }

    /// <inheritdoc/>
    public void ImageFailed()
    {
        foreach (var observer in _observers) observer.ImageFailed();
    }

    /// <inheritdoc/>
    public void ImageCancelled()
    {
        foreach (var observer in _observers) observer.ImageCancelled();
    }
}

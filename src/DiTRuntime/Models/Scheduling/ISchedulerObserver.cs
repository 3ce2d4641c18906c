namespace DiTRuntime.Models.Scheduling;

/// <summary>Is told what a scheduler does, for measurements; members that one does not care for need not be written. Every member is called on the scheduler's thread, between its steps: it must neither wait, throw nor allocate.</summary>
public interface ISchedulerObserver
{
    /// <summary>A request has waited its time: its first image begins.</summary>
    /// <param name="waited">From its acceptance until now.</param>
    void Queued(TimeSpan waited)
    {
    }

    /// <summary>A step was taken.</summary>
    /// <param name="duration">What it took, updates of the latents included.</param>
    /// <param name="rows">Samples it had; a guided image counts twice.</param>
    void StepTaken(TimeSpan duration, int rows)
    {
    }

    /// <summary>Latents of an image became pixels.</summary>
    /// <param name="duration">What it took.</param>
    void Decoded(TimeSpan duration)
    {
    }

    /// <summary>An image is done.</summary>
    void ImageFinished()
    {
    }

    /// <summary>An image was given up because of an error.</summary>
    void ImageFailed()
    {
    }

    /// <summary>An image was given up because its request was cancelled, begun or not.</summary>
    void ImageCancelled()
    {
    }
}

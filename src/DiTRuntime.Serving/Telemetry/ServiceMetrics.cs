using System.Diagnostics.Metrics;
using DiTRuntime.Models.Scheduling;

namespace DiTRuntime.Serving.Telemetry;

/// <summary>What is counted and timed, as instruments of the meter <see cref="MeterName"/>. What the scheduler records allocates nothing.</summary>
internal sealed class ServiceMetrics : ISchedulerObserver
{
    /// <summary>The meter's name, for whoever collects from it by other means than <c>/metrics</c>.</summary>
    public const string MeterName = "DiTRuntime";

    // A step takes a millisecond (digits) to seconds (XL on a processor).
    private static readonly double[] s_stepSeconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

    // A request takes less than a millisecond (health) to minutes (fifty steps behind a long queue).
    private static readonly double[] s_requestSeconds = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];

    private static readonly int[] s_rows = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

    private readonly Counter<long> _requests;
    private readonly Histogram<double> _requestDuration;
    private readonly Histogram<double> _queueDuration;
    private readonly Histogram<double> _stepDuration;
    private readonly Histogram<double> _decodeDuration;
    private readonly Histogram<int> _batchRows;
    private long _generated;
    private long _failed;
    private long _cancelled;

    /// <param name="meters">Makes the meter, and ends it with the service.</param>
    public ServiceMetrics(IMeterFactory meters)
    {
        var meter = meters.Create(MeterName);
        _requests = meter.CreateCounter<long>("dit_requests_total", null, "Requests answered, by route and status.");
        _requestDuration = Seconds(meter, "dit_request_duration_seconds", "From a request's headers to the end of its answer, by route.", s_requestSeconds);
        _queueDuration = Seconds(meter, "dit_queue_duration_seconds", "From the acceptance of a request to its first step.", s_requestSeconds);
        _stepDuration = Seconds(meter, "dit_step_duration_seconds", "One step of the running batch.", s_stepSeconds);
        _decodeDuration = Seconds(meter, "dit_decode_duration_seconds", "Latents of one image to pixels.", s_stepSeconds);
        _batchRows = meter.CreateHistogram(
            "dit_batch_rows", null, "Samples of a step; a guided image takes two.", null, new InstrumentAdvice<int> { HistogramBucketBoundaries = s_rows });
        meter.CreateObservableCounter("dit_images_generated_total", () => Volatile.Read(ref _generated), null, "Images finished.");
        meter.CreateObservableCounter("dit_images_failed_total", () => Volatile.Read(ref _failed), null, "Images given up because of an error.");
        meter.CreateObservableCounter("dit_images_cancelled_total", () => Volatile.Read(ref _cancelled), null, "Images given up because nobody wants them any more.");
    }

    /// <summary>A request was answered.</summary>
    /// <param name="endpoint">Pattern of its route.</param>
    /// <param name="status">HTTP status.</param>
    /// <param name="duration">What it took.</param>
    public void RequestEnded(string endpoint, int status, TimeSpan duration)
    {
        var route = new KeyValuePair<string, object?>("endpoint", endpoint);
        _requests.Add(1, route, new KeyValuePair<string, object?>("status", status));
        _requestDuration.Record(duration.TotalSeconds, route);
    }

    /// <inheritdoc/>
    public void Queued(TimeSpan waited) => _queueDuration.Record(waited.TotalSeconds);

    /// <inheritdoc/>
    public void StepTaken(TimeSpan duration, int rows)
    {
        _stepDuration.Record(duration.TotalSeconds);
        _batchRows.Record(rows);
    }

    /// <inheritdoc/>
    public void Decoded(TimeSpan duration) => _decodeDuration.Record(duration.TotalSeconds);

    /// <inheritdoc/>
    public void ImageFinished() => Interlocked.Increment(ref _generated);

    /// <inheritdoc/>
    public void ImageFailed() => Interlocked.Increment(ref _failed);

    /// <inheritdoc/>
    public void ImageCancelled() => Interlocked.Increment(ref _cancelled);

    private static Histogram<double> Seconds(Meter meter, string name, string description, double[] boundaries) =>
        meter.CreateHistogram(name, "s", description, null, new InstrumentAdvice<double> { HistogramBucketBoundaries = boundaries });
}

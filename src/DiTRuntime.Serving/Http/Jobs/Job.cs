using DiTRuntime.Models.Scheduling;

namespace DiTRuntime.Serving.Http;

/// <summary>A request whose images are fetched later. Safe for any thread.</summary>
/// <remarks>Once it has ended it holds the files of its images and nothing else of them.</remarks>
internal sealed class Job
{
    private readonly Lock _lock = new();
    private readonly ServedModel _model;
    private readonly ImageOrder _order;
    private readonly List<int> _previewIntervals = [];
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Generation? _generation;
    private Ending? _ending;

    /// <param name="id">What clients call it.</param>
    /// <param name="model">The model.</param>
    /// <param name="order">What was asked for.</param>
    /// <param name="generation">The request, accepted.</param>
    public Job(string id, ServedModel model, ImageOrder order, Generation generation)
    {
        Id = id;
        Created = generation.Created;
        _model = model;
        _order = order;
        _generation = generation;
    }

    /// <summary>What clients call it.</summary>
    public string Id { get; }

    /// <summary>When it was accepted.</summary>
    public DateTimeOffset Created { get; }

    /// <summary>The file format of its images.</summary>
    public string Format => _order.Format;

    /// <summary>Images.</summary>
    public int Count => _order.Request.Labels.Count;

    /// <summary>The model.</summary>
    public ServedModel Model => _model;

    /// <summary>Completes when it has ended, however it did.</summary>
    public Task Ended => _ended.Task;

    /// <summary>The request while it runs; null once it has ended.</summary>
    public Generation? Running
    {
        get
        {
            lock (_lock) return _generation;
        }
    }

    /// <summary>When it is forgotten, or null while it runs.</summary>
    public DateTimeOffset? Expires
    {
        get
        {
            lock (_lock) return _ending?.Expires;
        }
    }

    /// <summary>Bytes of its files.</summary>
    public long FileBytes
    {
        get
        {
            lock (_lock) return _ending?.Files?.Sum(file => (long)file.Length) ?? 0;
        }
    }

    /// <summary>The files of its images, or null where there are none.</summary>
    public IReadOnlyList<byte[]>? Files
    {
        get
        {
            lock (_lock) return _ending?.Files;
        }
    }

    /// <summary>Waits for the images, and makes files of them.</summary>
    /// <param name="time">The clock.</param>
    /// <param name="lifetime">How long it is kept afterwards.</param>
    /// <returns>What it failed of, or null.</returns>
    public async Task<Exception?> FinishAsync(TimeProvider time, TimeSpan lifetime)
    {
        var generation = Running!;
        byte[][]? files = null;
        Exception? failure = null;
        try
        {
            var images = await generation.Completion;
            files = [.. images.Select(image => _model.Encode(_order.Request, image, _order.Extension))];
        }
        catch (OperationCanceledException)
        {
            // Told by the status.
        }
        catch (Exception e)
        {
            failure = e;
        }

        var now = time.GetUtcNow();
        var status = files is not null ? GenerationStatus.Completed : failure is null ? GenerationStatus.Cancelled : GenerationStatus.Failed;
        lock (_lock)
        {
            _ending = new Ending(generation.Snapshot() with { Status = status, SecondsLeft = 0 }, generation.Started, now, now + lifetime, files, failure is null ? null : Failure.Of(failure));
            _generation = null;
        }

        _ended.SetResult();
        return failure;
    }

    /// <summary>Asks for its end.</summary>
    /// <returns>False when it has ended already.</returns>
    public bool Cancel() => Running?.Cancel() ?? false;

    /// <summary>Wants previews, until what it returns is disposed.</summary>
    /// <param name="interval">Steps between two previews of an image; of several the least counts.</param>
    public IDisposable WatchPreviews(int interval)
    {
        lock (_lock)
        {
            _previewIntervals.Add(interval);
            SetInterval();
        }

        return new Watch(this, interval);
    }

    /// <summary>What clients see of it.</summary>
    /// <param name="withResult">Whether its images are told as well.</param>
    public JobAnswer Describe(bool withResult)
    {
        Generation? generation;
        Ending? ending;
        lock (_lock) (generation, ending) = (_generation, _ending);
        // Between its last step and its files it still runs.
        var snapshot = ending?.Last ?? generation!.Snapshot() switch
        {
            { Status: GenerationStatus.Completed or GenerationStatus.Failed } complete => complete with { Status = GenerationStatus.Running },
            var running => running,
        };
        var request = _order.Request;
        var sampler = request.Sampler;
        return new JobAnswer(Id, "image.job", NameOf(snapshot.Status), Created.ToUnixTimeSeconds())
        {
            Started = (ending?.Started ?? generation?.Started)?.ToUnixTimeSeconds(),
            Completed = ending?.Ended.ToUnixTimeSeconds(),
            Expires = ending?.Expires.ToUnixTimeSeconds(),
            QueuePosition = snapshot.QueuePosition,
            StepsDone = snapshot.StepsDone,
            StepsTotal = snapshot.StepsTotal,
            ImagesDone = snapshot.ImagesDone,
            Count = Count,
            SecondsLeft = snapshot.SecondsLeft is { } seconds ? Math.Round(seconds, 1) : null,
            Request = new JobRequestAnswer(
                request.Labels, request.Seed, sampler.StepCount, request.GuidanceScale, sampler.Sampler, sampler.Eta, sampler.ResolveSpacing().Name, _order.Format),
            Result = withResult && ending?.Files is not null ? ImageEndpoints.Answer(_order, _model, Created, image => (null, PathOf(image))) : null,
            Error = ending?.Error is { } error ? new JobErrorAnswer(error.Code, error.Message) : null,
        };
    }

    /// <summary>What clients call a status.</summary>
    public static string NameOf(GenerationStatus status) => status switch
    {
        GenerationStatus.Queued => "queued",
        GenerationStatus.Running => "running",
        GenerationStatus.Completed => "completed",
        GenerationStatus.Failed => "failed",
        _ => "cancelled",
    };

    private string PathOf(int image) => $"/v1/jobs/{Id}/images/{image}";

    private void SetInterval()
    {
        if (_generation is { } generation) generation.PreviewInterval = _previewIntervals.Count == 0 ? 0 : _previewIntervals.Min();
    }

    /// <summary>How it ended.</summary>
    private sealed record Ending(
        GenerationSnapshot Last, DateTimeOffset? Started, DateTimeOffset Ended, DateTimeOffset Expires, byte[][]? Files, ApiException? Error);

    private sealed class Watch(Job job, int interval) : IDisposable
    {
        public void Dispose()
        {
            lock (job._lock)
            {
                job._previewIntervals.Remove(interval);
                job.SetInterval();
            }
        }
    }
}

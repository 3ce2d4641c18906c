using System.Security.Cryptography;
using DiTRuntime.Models.Scheduling;
using Microsoft.Extensions.Logging;

namespace DiTRuntime.Serving.Http;

/// <summary>The jobs that are known: those that run, and those that have ended for a while. Safe for any thread.</summary>
/// <remarks>Those that run are bounded by the scheduler's queue; of those that have ended the oldest are forgotten early where they are too many or too large.</remarks>
internal sealed partial class JobStore : IDisposable
{
    private const int MaxEnded = 1000;
    private const long MaxFileBytes = 256 << 20;
    private const int IdBytes = 16;

    private static readonly TimeSpan s_longestSweep = TimeSpan.FromSeconds(30);

    private readonly Lock _lock = new();
    private readonly OrderedDictionary<string, Job> _jobs = [];

    /// <summary>Those that have ended, in that order.</summary>
    private readonly OrderedDictionary<string, Job> _ended = [];

    private readonly TimeProvider _time;
    private readonly TimeSpan _lifetime;
    private readonly ILogger<JobStore> _logger;
    private readonly ITimer _sweeper;
    private long _fileBytes;

    /// <param name="options">How long a job is kept.</param>
    /// <param name="time">The clock.</param>
    /// <param name="logger">Where failures are written.</param>
    public JobStore(ServerOptions options, TimeProvider time, ILogger<JobStore> logger)
    {
        _time = time;
        _lifetime = options.JobLifetime;
        _logger = logger;
        var pace = _lifetime < s_longestSweep ? _lifetime : s_longestSweep;
        _sweeper = time.CreateTimer(static store => ((JobStore)store!).Sweep(), this, pace, pace);
    }

    /// <summary>Takes up a request that was accepted.</summary>
    public Job Add(ServedModel model, ImageOrder order, Generation generation)
    {
        var job = new Job("job_" + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(IdBytes)), model, order, generation);
        lock (_lock) _jobs.Add(job.Id, job);
        _ = FinishAsync(job);
        return job;
    }

    /// <summary>A job that is known, or null.</summary>
    public Job? Find(string id)
    {
        Sweep();
        lock (_lock) return _jobs.GetValueOrDefault(id);
    }

    /// <summary>Jobs, newest first.</summary>
    public IReadOnlyList<Job> List()
    {
        Sweep();
        lock (_lock) return [.. _jobs.Values.Reverse()];
    }

    /// <summary>Forgets a job, cancelling it first where it has not ended.</summary>
    /// <returns>Whether it was known.</returns>
    public bool Remove(string id)
    {
        Job? job;
        lock (_lock)
        {
            if (!_jobs.TryGetValue(id, out job)) return false;
            Forget(job);
        }

        job.Cancel();
        return true;
    }

    /// <inheritdoc/>
    public void Dispose() => _sweeper.Dispose();

    private async Task FinishAsync(Job job)
    {
        if (await job.FinishAsync(_time, _lifetime) is { } failure) LogFailure(failure, job.Id);
        lock (_lock)
        {
            if (!_jobs.ContainsKey(job.Id)) return;
            _fileBytes += job.FileBytes;
            _ended.Add(job.Id, job);
        }

        Sweep();
    }

    private void Sweep()
    {
        var now = _time.GetUtcNow();
        lock (_lock)
        {
            while (_ended.Count > 0 && (_ended.GetAt(0).Value.Expires <= now || _ended.Count > MaxEnded || _fileBytes > MaxFileBytes)) Forget(_ended.GetAt(0).Value);
        }
    }

    private void Forget(Job job)
    {
        _jobs.Remove(job.Id);
        if (_ended.Remove(job.Id)) _fileBytes -= job.FileBytes;
    }

    [LoggerMessage(LogLevel.Error, "job {Id} failed")]
    private partial void LogFailure(Exception exception, string id);
}

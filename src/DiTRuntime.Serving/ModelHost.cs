using DiTRuntime.Models.Scheduling;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace DiTRuntime.Serving;

/// <summary>The model of a service, loaded after its start and drained before its end.</summary>
public sealed partial class ModelHost : IHostedLifecycleService, IAsyncDisposable
{
    private readonly DiTOptions _options;
    private readonly ISchedulerObserver? _observer;
    private readonly TimeProvider _time;
    private readonly ILogger<ModelHost> _logger;
    private readonly CancellationTokenSource _stopping = new();
    private readonly TaskCompletionSource<ServedModel> _loaded = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private double _loadProgress;
    private Task _loading = Task.CompletedTask;
    private bool _isDisposed;

    /// <param name="options">Which model.</param>
    /// <param name="observers">What is told of every step.</param>
    /// <param name="time">The clock.</param>
    /// <param name="logger">Where a failure is written.</param>
    public ModelHost(IOptions<DiTOptions> options, IEnumerable<ISchedulerObserver> observers, TimeProvider time, ILogger<ModelHost> logger)
    {
        _options = options.Value;
        _observer = SchedulerObservers.Of([.. observers]);
        _time = time;
        _logger = logger;
    }

    /// <summary>What can be asked for.</summary>
    public ServingState State =>
        _stopping.IsCancellationRequested ? ServingState.Draining
        : _loaded.Task.IsFaulted ? ServingState.Failed
        : Model is null ? ServingState.Loading : ServingState.Ready;

    /// <summary>The model; null until it is loaded.</summary>
    public ServedModel? Model => _loaded.Task.IsCompletedSuccessfully ? _loaded.Task.Result : null;

    /// <summary>The model, once it is loaded; faults with what loading failed of, and is cancelled when the application stops before.</summary>
    public Task<ServedModel> Loaded => _loaded.Task;

    /// <summary>The part of the model that is loaded, 0 to 1.</summary>
    public double LoadProgress => Volatile.Read(ref _loadProgress);

    /// <summary>Whether everything that was accepted had ended within the grace period; null before the end.</summary>
    public bool? EndedInTime { get; private set; }

    /// <summary>The model's settings.</summary>
    internal DiTOptions Options => _options;

    /// <inheritdoc/>
    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Begins to load: the server listens by now, and says that it is not ready yet.</summary>
    /// <inheritdoc/>
    public Task StartedAsync(CancellationToken cancellationToken)
    {
        _loading = Task.Factory.StartNew(Load, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        return Task.CompletedTask;
    }

    /// <summary>Finishes what was accepted, while the server still listens and refuses what is new.</summary>
    /// <inheritdoc/>
    public async Task StoppingAsync(CancellationToken cancellationToken)
    {
        await _stopping.CancelAsync();
        try
        {
            await DrainAsync().WaitAsync(_options.Grace, _time, cancellationToken);
            EndedInTime = true;
        }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException)
        {
            EndedInTime = false;
            LogUnfinished(_options.Grace.TotalSeconds);
            if (Model is { } model) await model.Scheduler.DisposeAsync();
        }
    }

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_isDisposed) return;
        _isDisposed = true;
        await _stopping.CancelAsync();
        await _loading;
        if (Model is { } model) await model.CloseAsync();
        _stopping.Dispose();
    }

    private async Task DrainAsync()
    {
        await _loading;
        if (Model is { } model) await model.Scheduler.DrainAsync();
    }

    private void Load()
    {
        try
        {
            _loaded.SetResult(ServedModel.Load(_options, _observer, _time, new LoadObserver(this)));
        }
        catch (OperationCanceledException)
        {
            _loaded.SetCanceled();
        }
        catch (Exception e)
        {
            _loaded.SetException(e);
            LogFailure(e.Message);
        }
    }

    [LoggerMessage(LogLevel.Error, "the model cannot be loaded: {Problem}")]
    private partial void LogFailure(string problem);

    [LoggerMessage(LogLevel.Warning, "requests were cancelled: they had not ended within {Seconds} s")]
    private partial void LogUnfinished(double seconds);

    /// <summary>Notes how far loading is, and ends it when the application stops.</summary>
    private sealed class LoadObserver(ModelHost host) : IProgress<double>
    {
        public void Report(double value)
        {
            Volatile.Write(ref host._loadProgress, value);
            host._stopping.Token.ThrowIfCancellationRequested();
        }
    }
}

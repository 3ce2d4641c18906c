using System.Runtime.InteropServices;

namespace DiTRuntime.Cli;

/// <summary>Turns Ctrl-C and SIGTERM into a cancelled token, and ends the process when the work does not react in time.</summary>
internal sealed class Interruption : IDisposable
{
    private readonly CancellationTokenSource _source = new();
    private readonly PosixSignalRegistration[] _registrations;
    private readonly Timer _deadline;

    public Interruption()
    {
        _deadline = new Timer(static _ => EndNow());
        _registrations =
        [
            PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal),
            PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal),
        ];
    }

    /// <summary>How long the work may take to end after the first signal; for most commands the process is to end within a second.</summary>
    public TimeSpan Grace { get; set; } = TimeSpan.FromMilliseconds(700);

    /// <summary>Cancelled by the first signal.</summary>
    public CancellationToken Token => _source.Token;

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var registration in _registrations) registration.Dispose();
        _deadline.Dispose();
        _source.Dispose();
    }

    private void OnSignal(PosixSignalContext context)
    {
        context.Cancel = true;
        if (_source.IsCancellationRequested) EndNow();
        _deadline.Change(Grace, Timeout.InfiniteTimeSpan);
        // Callbacks of the token may block; the deadline must not depend on them.
        ThreadPool.UnsafeQueueUserWorkItem(static source => source.Cancel(), _source, preferLocal: false);
    }

    private static void EndNow()
    {
        AtomicFile.DiscardUnfinished();
        // The progress display hides the cursor while it is up.
        if (!Console.IsErrorRedirected) Console.Error.WriteLine("\e[?25h");
        Environment.Exit((int)ExitCode.Cancelled);
    }
}

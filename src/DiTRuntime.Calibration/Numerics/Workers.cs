using DiTRuntime.Backends.Cpu;

namespace DiTRuntime.Calibration.Numerics;

/// <summary>One task of a parallel loop.</summary>
/// <param name="task">Which.</param>
/// <param name="scratch">The running thread's own scratch, 64-byte aligned.</param>
internal unsafe delegate void ScratchTask(int task, byte* scratch);

/// <summary>Parallel loops over independent tasks; what a task does never depends on the thread count.</summary>
internal sealed unsafe class Workers : IDisposable
{
    private readonly WorkerPool _pool;

    /// <param name="threadCount">Threads, or 0 for one per processor.</param>
    /// <param name="cancellation">Observed before each task.</param>
    public Workers(int threadCount, CancellationToken cancellation = default) =>
        _pool = new WorkerPool(threadCount == 0 ? Environment.ProcessorCount : threadCount) { Cancellation = cancellation };

    /// <summary>Runs tasks 0 to count − 1.</summary>
    /// <exception cref="OperationCanceledException">The token was cancelled; some tasks have not run.</exception>
    public void For(int count, Action<int> body) => _pool.Run(new ActionJob(body), count);

    /// <summary>Runs tasks 0 to count − 1, each with scratch memory.</summary>
    /// <exception cref="OperationCanceledException">The token was cancelled; some tasks have not run.</exception>
    public void For(int count, int scratchBytes, ScratchTask body) => _pool.Run(new ScratchJob(body), count, scratchBytes);

    /// <inheritdoc/>
    public void Dispose() => _pool.Dispose();

    private readonly struct ActionJob(Action<int> body) : IJob
    {
        public void Execute(int task, byte* scratch) => body(task);
    }

    private readonly struct ScratchJob(ScratchTask body) : IJob
    {
        public void Execute(int task, byte* scratch) => body(task, scratch);
    }
}

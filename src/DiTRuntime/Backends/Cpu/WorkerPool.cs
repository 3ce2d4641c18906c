using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace DiTRuntime.Backends.Cpu;

/// <summary>A piece of parallel work: tasks 0 to count − 1, each independent of which thread runs it and when.</summary>
internal interface IJob
{
    /// <summary>Runs one task.</summary>
    /// <param name="task">Which.</param>
    /// <param name="scratch">The running thread's own scratch, as large as the job asked for; 64-byte aligned.</param>
    unsafe void Execute(int task, byte* scratch);
}

/// <summary>Threads that stay, and take the tasks of one job after another. Running a job allocates nothing.</summary>
/// <remarks>
/// The framework's parallel loops allocate closures per call, which a sampling step may not. Waiting threads spin
/// for a moment, because the next operation of a forward pass follows within microseconds, and then sleep.
/// </remarks>
internal sealed unsafe class WorkerPool : IDisposable
{
    private const int SpinsBeforeSleep = 200;

    private readonly Lock _callers = new();
    private readonly object _gate = new();
    private readonly Thread[] _threads;
    private readonly Scratch[] _scratch;
    private readonly Dictionary<Type, Runner> _runners = [];
    private Runner? _current;
    private volatile int _generation;
    private volatile bool _stopping;
    private int _taskCount;
    private int _nextTask;
    private int _busyThreads;
    private ExceptionDispatchInfo? _failure;

    /// <param name="threadCount">Threads in all, the caller's included.</param>
    public WorkerPool(int threadCount)
    {
        ThreadCount = threadCount;
        _scratch = new Scratch[threadCount];
        _threads = new Thread[threadCount - 1];
        for (var i = 0; i < _threads.Length; i++)
        {
            var index = i + 1;
            _threads[i] = new Thread(() => Work(index)) { IsBackground = true, Name = $"dit-worker-{index}" };
            _threads[i].Start();
        }
    }

    /// <summary>Threads in all, the caller's included.</summary>
    public int ThreadCount { get; }

    /// <summary>Observed before each task.</summary>
    public CancellationToken Cancellation { get; set; }

    /// <summary>Runs every task of a job and returns when all have ended.</summary>
    /// <param name="job">The work.</param>
    /// <param name="taskCount">Number of tasks.</param>
    /// <param name="scratchBytes">Scratch that each thread needs.</param>
    /// <exception cref="OperationCanceledException">The token was cancelled; some tasks have not run.</exception>
    public void Run<TJob>(in TJob job, int taskCount, int scratchBytes = 0)
        where TJob : struct, IJob
    {
        lock (_callers)
        {
            if (!_runners.TryGetValue(typeof(TJob), out var found)) _runners[typeof(TJob)] = found = new Runner<TJob>();
            var runner = (Runner<TJob>)found;
            runner.Job = job;
            for (var i = 0; i < _scratch.Length; i++) _scratch[i].Grow(scratchBytes);
            _failure = null;
            _taskCount = taskCount;
            _nextTask = 0;
            _current = runner;
            if (taskCount > 1 && _threads.Length > 0)
            {
                _busyThreads = _threads.Length;
                lock (_gate)
                {
                    _generation++;
                    Monitor.PulseAll(_gate);
                }

                Drain(0);
                var wait = new SpinWait();
                while (Volatile.Read(ref _busyThreads) != 0) wait.SpinOnce(sleep1Threshold: -1);
            }
            else
            {
                Drain(0);
            }

            runner.Job = default;
            _failure?.Throw();
            Cancellation.ThrowIfCancellationRequested();
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _stopping = true;
            Monitor.PulseAll(_gate);
        }

        foreach (var thread in _threads) thread.Join();
        for (var i = 0; i < _scratch.Length; i++) _scratch[i].Free();
    }

    private void Work(int threadIndex)
    {
        var seen = 0;
        while (true)
        {
            for (var spins = 0; _generation == seen && !_stopping && spins < SpinsBeforeSleep; spins++) Thread.SpinWait(50);
            lock (_gate)
            {
                while (_generation == seen && !_stopping) Monitor.Wait(_gate);
                if (_stopping) return;
                seen = _generation;
            }

            Drain(threadIndex);
            Interlocked.Decrement(ref _busyThreads);
        }
    }

    private void Drain(int threadIndex)
    {
        var runner = _current!;
        try
        {
            while (!Cancellation.IsCancellationRequested && _failure is null)
            {
                var task = Interlocked.Increment(ref _nextTask) - 1;
                if (task >= _taskCount) return;
                runner.Execute(task, _scratch[threadIndex].Start);
            }
        }
        catch (Exception e)
        {
            // Every failure of a task reaches the caller of Run, on its own thread.
            _failure = ExceptionDispatchInfo.Capture(e);
        }
    }

    private abstract class Runner
    {
        public abstract void Execute(int task, byte* scratch);
    }

    private sealed class Runner<TJob> : Runner
        where TJob : struct, IJob
    {
        public TJob Job;

        public override void Execute(int task, byte* scratch) => Job.Execute(task, scratch);
    }

    private struct Scratch
    {
        private int _byteCount;

        public byte* Start { get; private set; }

        public void Grow(int byteCount)
        {
            if (byteCount <= _byteCount) return;
            Free();
            Start = (byte*)NativeMemory.AlignedAlloc((nuint)byteCount, 64);
            _byteCount = byteCount;
        }

        public void Free()
        {
            NativeMemory.AlignedFree(Start);
            Start = null;
            _byteCount = 0;
        }
    }
}

using System.Runtime.InteropServices;
using DiTRuntime.Backends;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda;

/// <summary>Repeated steps and the noise that is copied beside them.</summary>
public sealed partial class CudaBackend
{
    /// <summary>Runs that the host may be ahead of the device, so that a cancelled run ends soon and progress means something.</summary>
    private const int RunsInFlight = 2;

    private readonly GpuEvent[] _runDone = new GpuEvent[RunsInFlight];
    private readonly GpuEvent[] _noiseCopied = new GpuEvent[2];
    private PinnedBuffer? _noisePieces;
    private GpuEvent? _pendingNoise;
    private bool _isRecording;
    private bool _updatedOutsideRun;
    private long _runs;

    /// <inheritdoc/>
    public bool RecordsSteps => Options.UsesGraphs;

    /// <inheritdoc/>
    public RepeatedStep PrepareStep(Action body) => new CudaStep(this, body);

    /// <inheritdoc/>
    public void UploadNoise(ReadOnlySpan<float> values, Tensor noise, int stepIndex)
    {
        TensorCheck.UploadNoise(this, values, noise, stepIndex);
        var bytes = MemoryMarshal.AsBytes(values);
        var half = stepIndex % 2;
        if (_noisePieces is null || _noisePieces.Bytes.Length < 2 * bytes.Length)
        {
            CopyStream.Synchronize();
            if (_noisePieces is not null) _owned.Remove(_noisePieces);
            _noisePieces = _owned.Add(_device.AllocatePinned(2L * bytes.Length));
        }

        // The half was last read two steps ago: by the run before the latest, or by an update outside any run.
        if (_updatedOutsideRun) Stream.Synchronize();
        _updatedOutsideRun = false;
        if (_runs >= RunsInFlight) CopyStream.Wait(_runDone[_runs % RunsInFlight]);
        _noiseCopied[half].Synchronize();
        bytes.CopyTo(_noisePieces.Bytes[(half * bytes.Length)..]);
        CopyStream.CopyToDevice(_noisePieces, (long)half * bytes.Length, ((CudaTensor)noise).Pointer + (long)half * bytes.Length, bytes.Length);
        CopyStream.Record(_noiseCopied[half]);
        _pendingNoise = _noiseCopied[half];
    }

    /// <summary>Lets what is queued next wait for noise that is still on its way.</summary>
    private void WaitForNoise()
    {
        if (_pendingNoise is null || _isRecording) return;
        Stream.Wait(_pendingNoise);
        _pendingNoise = null;
    }

    /// <summary>
    /// Carries the operations out the first time, when kernels are compiled and scratch memory grows; records them the second time; then replays.
    /// </summary>
    private sealed class CudaStep(CudaBackend backend, Action body) : RepeatedStep
    {
        private GpuGraph? _graph;
        private int _scratchVersion = -1;

        public override void Run()
        {
            backend.Cancellation.ThrowIfCancellationRequested();
            var done = backend._runDone[backend._runs % RunsInFlight];
            if (backend._runs >= RunsInFlight) done.Synchronize();
            backend.WaitForNoise();
            if (_scratchVersion != backend._scratchVersion || !backend.Options.UsesGraphs) RunDirectly();
            else backend.Stream.Launch(_graph ??= Record());
            backend.Stream.Record(done);
            backend._runs++;
            backend._updatedOutsideRun = false;
        }

        protected override void Dispose(bool disposing)
        {
            base.Dispose(disposing);
            if (!disposing || _graph is null) return;
            backend.Stream.Synchronize();
            _graph.Dispose();
            _graph = null;
        }

        private void RunDirectly()
        {
            _graph?.Dispose();
            _graph = null;
            body();
            _scratchVersion = backend._scratchVersion;
        }

        private GpuGraph Record()
        {
            backend._isRecording = true;
            try
            {
                return backend.Stream.Capture(body);
            }
            finally
            {
                backend._isRecording = false;
            }
        }
    }
}

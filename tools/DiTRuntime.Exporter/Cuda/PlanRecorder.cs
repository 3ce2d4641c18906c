using DiTRuntime.Cuda;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Planning;
using DiTRuntime.Decoding;
using DiTRuntime.Models;

namespace DiTRuntime.Exporter.Cuda;

/// <summary>Lets the engine run once for each batch shape on a device that runs nothing, and writes down what it does.</summary>
internal sealed class PlanRecorder : IDisposable
{
    private readonly ResourceList _owned = new();
    private readonly PlanningDevice _memory;
    private readonly RecordingDevice _device;
    private readonly PlanningCompiler _compiler = new();
    private readonly DiTModel _model;
    private readonly IImageDecoder? _decoder;
    private readonly int _tileSide;

    /// <param name="source">What is recorded.</param>
    /// <param name="compatibility">Which published implementation to agree with.</param>
    /// <param name="tileSide">Positions of a side that the decoder takes at once.</param>
    /// <param name="device">What it is recorded for.</param>
    /// <param name="holdsData">Whether the buffers' contents are wanted, not their sizes alone.</param>
    public PlanRecorder(ExportSource source, Compatibility compatibility, int tileSide, GpuProperties device, bool holdsData = true)
    {
        _tileSide = tileSide;
        _memory = new PlanningDevice(device, holdsData);
        try
        {
            _device = _owned.Add(new RecordingDevice(_memory));
            var backend = _owned.Add(new CudaBackend(_device, _compiler, new CudaOptions(UsesGraphs: false)));
            if (source.DecoderPath is { } path) _decoder = _owned.Add(ImageDecoders.Open(path, backend));
            _model = _owned.Add(new DiTModel(source.OpenWeights(), backend, compatibility));
        }
        catch
        {
            _owned.Dispose();
            throw;
        }
    }

    /// <summary>Records.</summary>
    /// <param name="batch">Images sampled together, at most; one alone is recorded too.</param>
    /// <param name="windowSteps">Steps whose modulation is held at once, for each number of conditions.</param>
    public RecordedPlan Record(int batch, Func<int, int> windowSteps)
    {
        using var owned = new ResourceList();
        var runs = new List<ShapeRun>();
        foreach (var images in new[] { 1, batch }.Distinct())
            foreach (var guided in (bool[])[false, true])
                runs.Add(owned.Add(ShapeRun.Sampling(_model, images, guided, windowSteps(guided ? images + 1 : images))));
        runs.Add(owned.Add(ShapeRun.Pass(_model)));

        // The first time kernels are asked for and scratch memory grows; what is recorded is the second.
        foreach (var run in runs)
        {
            run.Fill();
            run.Step(() => { });
        }

        Decode();
        var plan = new PlanBuilder(_memory, _device, _compiler.Specs);
        for (var i = 0; i < runs.Count; i++) plan.Add(i, runs[i], Commands);
        if (_decoder is not null) plan.AddDecoder(Commands(_ => Decode()), _decoder, _tileSide);
        return plan.Build();
    }

    /// <inheritdoc/>
    public void Dispose() => _owned.Dispose();

    /// <summary>What some work does; null stands for a stage.</summary>
    private List<RecordedCommand?> Commands(Action<Action> work)
    {
        _device.Clear();
        var stages = new List<int>();
        work(() => stages.Add(_device.Commands.Count));
        var commands = new List<RecordedCommand?>(_device.Commands);
        for (var i = stages.Count - 1; i >= 0; i--) commands.Insert(stages[i], null);
        return commands;
    }

    private void Decode()
    {
        if (_decoder is null) return;
        var pixels = _tileSide * _tileSide * _decoder.UpscaleFactor * _decoder.UpscaleFactor;
        _decoder.TileSide = _tileSide;
        _decoder.Decode(new float[_tileSide * _tileSide * _decoder.LatentChannels], _tileSide, _tileSide, new float[pixels * _decoder.ImageChannels]);
    }
}

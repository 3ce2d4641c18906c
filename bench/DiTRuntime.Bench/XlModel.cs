using DiTRuntime.Backends;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Bench;

/// <summary>DiT-XL/2 at 256×256 on synthetic weights, sampling one guided image.</summary>
internal sealed class XlModel : IDisposable
{
    private readonly DiTModel _model;
    private SamplingBatch _batch;

    public XlModel(IDiTBackend backend)
    {
        Config = DiTConfigs.Parse("DiT-XL/2");
        using var tensors = new SyntheticTensors(DiTLayout.Official.Tensors(Config).Select(t => (t.Name, t.Shape)));
        using var weights = DiTWeightsLoader.Load(tensors, new DiTLoadOptions());
        _model = new DiTModel(weights, backend, Compatibility.Official);
        _batch = NewBatch();
    }

    public DiTConfig Config { get; }

    /// <summary>Takes a step; the conditioning table, made once per request, is not part of it.</summary>
    public void Step()
    {
        if (_batch.IsFinished)
        {
            _batch.Dispose();
            _batch = NewBatch();
        }

        _batch.Step();
    }

    public void Dispose()
    {
        _batch.Dispose();
        _model.Dispose();
    }

    private SamplingBatch NewBatch()
    {
        var plan = SamplingPlan.Ddim(TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), 100), 0);
        return new SamplingBatch(_model, new SamplingSettings(plan, new ImageNoise(0), 4, 3), [0], [207]);
    }
}

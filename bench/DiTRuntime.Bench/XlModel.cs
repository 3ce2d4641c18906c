using DiTRuntime.Backends;
using DiTRuntime.Models;
using DiTRuntime.Quantization;
using DiTRuntime.Sampling;

namespace DiTRuntime.Bench;

/// <summary>DiT-XL/2 at 256×256 on synthetic weights, sampling one guided image.</summary>
internal sealed class XlModel : IDisposable
{
    private readonly DiTModel _model;
    private SamplingBatch _batch;

    /// <param name="backend">Where it runs.</param>
    /// <param name="weightBits">Bits of packed weights in groups of 128 with 8-bit activations, or null for fp32.</param>
    public XlModel(IDiTBackend backend, int? weightBits = null)
    {
        Config = DiTConfigs.Parse("DiT-XL/2");
        var tensors = weightBits is { } bits ? Packed(bits) : new SyntheticTensors(DiTLayout.Official.Tensors(Config).Select(t => (t.Name, t.Shape)));
        _model = new DiTModel(DiTWeightsLoader.Load(tensors, new DiTLoadOptions()), backend, Compatibility.Official);
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

    private SyntheticTensors Packed(int bits)
    {
        var plan = PackedModelPlan.Uniform(Config, new GroupFormat(bits, 128), ActivationMode.Dynamic);
        var metadata = new Dictionary<string, string>
        {
            [PackedModel.FormatKey] = PackedModel.Version,
            [PackedModel.ConfigKey] = DiTConfigFacts.Write(Config),
            [PackedModel.LayersKey] = plan.LayersJson(),
        };
        return new SyntheticTensors(plan.Tensors(), metadata);
    }

    private SamplingBatch NewBatch()
    {
        var plan = SamplingPlan.Ddim(TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), 100), 0);
        return new SamplingBatch(_model, new SamplingSettings(plan, new ImageNoise(0), 4, 3), [0], [207]);
    }
}

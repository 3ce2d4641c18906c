using System.Diagnostics;
using DiTRuntime.Backends;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Quantizing;

/// <summary>Quantizes the blocks first to last, each on the inputs that the quantized blocks before it make.</summary>
/// <param name="settings">What to do.</param>
/// <param name="plan">The format of every layer.</param>
/// <param name="open">Opens the model.</param>
/// <param name="backend">Runs the model.</param>
/// <param name="workers">Who computes the rest.</param>
/// <param name="packer">Quantizes single layers.</param>
/// <param name="folder">Keeps what is finished.</param>
/// <param name="progress">Told what is being done.</param>
internal sealed class BlockCalibration(
    QuantizeSettings settings, PackedModelPlan plan, Func<DiTWeights> open, IDiTBackend backend, Workers workers, LayerPacker packer, WorkFolder folder, IProgress<QuantizeProgress>? progress)
{
    // Parts of a block's time, for progress alone.
    private const double CollectingPart = 0.5, QuantizingPart = 0.2;

    private readonly List<LayerReport> _layers = [];
    private int _resumed;

    /// <summary>What became of the layers, in the order of the forward pass.</summary>
    public IReadOnlyList<LayerReport> Layers => _layers;

    /// <summary>Quantizes every block that is not finished.</summary>
    /// <param name="set">The calibration samples.</param>
    /// <param name="note">Told where an earlier run is taken up.</param>
    /// <returns>Blocks that were finished already.</returns>
    public int Run(CalibrationSet set, Action<string> note)
    {
        using var run = Begin(set);
        _resumed = folder.LoadState(run.Tokens, _layers);
        if (_resumed > 0) note($"going on after block {_resumed} of {plan.Config.Depth}, finished by an earlier run");
        else run.Embed(set);
        using var modulationInputs = settings.NeedsInputs ? new Statistics(workers, plan.Config.HiddenSize) : null;
        modulationInputs?.Hessian.Add(run.ModulationInputs(set.Pairs(plan.Config.NullClass)));
        for (var block = _resumed; block < plan.Config.Depth; block++)
        {
            using var weights = open();
            CalibrateBlock(run, weights.Blocks[block], block, modulationInputs);
            folder.SaveState(block + 1, _layers, run.Tokens);
        }

        return _resumed;
    }

    private CalibrationRun Begin(CalibrationSet set)
    {
        using var weights = open();
        return new CalibrationRun(weights, backend, workers, settings.Compatibility, set);
    }

    private void CalibrateBlock(CalibrationRun run, BlockWeights weights, int block, Statistics? modulationInputs)
    {
        var modulation = Pack(weights.Modulation, activations: null, modulationInputs);
        run.Modulate(modulation.Weight);

        var layers = BlockLayers.ThatReadTokens(weights);
        var rounding = Rounding(run, layers);
        var statistics = settings.NeedsInputs ? Array.ConvertAll(layers, layer => new Statistics(workers, layer.Inputs)) : null;
        var packed = new LinearWeight[layers.Length];
        try
        {
            if (statistics is not null)
                run.RunBlock(layers, rounding, (layer, inputs) => statistics[layer].Hessian.Add(inputs), keeps: false, Part(block, 0, CollectingPart));
            for (var i = 0; i < layers.Length; i++)
            {
                packed[i] = Pack(layers[i], rounding[i], statistics?[i]).Weight;
                statistics?[i].Dispose();
                Part(block, CollectingPart, QuantizingPart).Report((i + 1.0) / layers.Length);
            }
        }
        finally
        {
            foreach (var layer in statistics ?? []) layer.Dispose();
        }

        run.RunBlock(packed, rounding, observer: null, keeps: true, Part(block, CollectingPart + QuantizingPart, 1 - CollectingPart - QuantizingPart));
    }

    /// <summary>How the inputs of a block's layers are quantized; static ranges are taken over one pass in floating point.</summary>
    private ActivationFormat?[] Rounding(CalibrationRun run, LinearWeight[] layers)
    {
        if (settings.Activations == ActivationMode.Float) return new ActivationFormat?[layers.Length];
        var groups = Array.ConvertAll(layers, layer => plan.FormatOf(layer.Name).ActivationGroup);
        if (settings.Activations == ActivationMode.Dynamic) return Array.ConvertAll(groups, group => new ActivationFormat(group));
        var ranges = layers.Zip(groups, (layer, group) => new InputRanges(new GroupGrid(layer.Inputs, group))).ToArray();
        run.RunBlock(layers, new ActivationFormat?[layers.Length], (layer, inputs) => ranges[layer].Add(inputs), keeps: false);
        return Array.ConvertAll(ranges, range => range.ToFormat());
    }

    private PackedLayer Pack(LinearWeight weight, ActivationFormat? activations, Statistics? inputs)
    {
        var start = Stopwatch.GetTimestamp();
        var (layer, report) = packer.Pack(weight, plan.FormatOf(weight.Name).Weights!, activations, inputs?.Complete());
        folder.Save(layer);
        _layers.Add(report with { Seconds = Stopwatch.GetElapsedTime(start).TotalSeconds });
        return layer;
    }

    private Relay<double> Part(int block, double done, double part) =>
        new(fraction => progress?.Report(new QuantizeProgress("calibrating", "blocks", block - _resumed + done + part * fraction, plan.Config.Depth - _resumed)));

    /// <summary>The Hessian of a layer's inputs, and its factor once it is asked for.</summary>
    private sealed class Statistics(Workers workers, int size) : IDisposable
    {
        private InputStatistics? _complete;

        public Hessian Hessian { get; } = new(workers, size);

        public InputStatistics Complete() => _complete ??= new InputStatistics(Hessian, InverseFactor.Of(workers, Hessian, Gptq.DampingRatio));

        public void Dispose()
        {
            Hessian.Dispose();
            _complete?.Factor.Dispose();
        }
    }
}

using DiTRuntime.Backends;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Quantizing;

/// <summary>Receives the input of a layer of a block for some samples.</summary>
/// <param name="layer">0 qkv, 1 proj, 2 fc1, 3 fc2.</param>
/// <param name="values">x [rows, K], rounded to what the layer's format can hold.</param>
internal delegate void LayerInputs(int layer, ReadOnlySpan<float> values);

/// <summary>
/// Carries all calibration samples through the model block by block. Weights come in fp32 and inputs are rounded here, so that every
/// backend runs the quantized model, and what a layer reads can be seen.
/// </summary>
internal sealed class CalibrationRun : IDisposable
{
    /// <summary>Tokens of a batch: enough to keep the threads busy.</summary>
    private const int BatchTokens = 4096;

    private readonly IDiTBackend _backend;
    private readonly Workers _workers;
    private readonly DiTConfig _config;
    private readonly DiTFrame _frame;
    private readonly Conditioner _conditioner;
    private readonly ModulationTable _conditions;
    private readonly Tensor _modulations;
    private readonly DiTState _state;
    private readonly int _batchSize;
    private float[] _inputs = [];

    /// <param name="weights">The model; not kept.</param>
    /// <param name="backend">Where it runs.</param>
    /// <param name="workers">Who rounds inputs.</param>
    /// <param name="compatibility">Which published implementation to agree with.</param>
    /// <param name="set">The samples.</param>
    public CalibrationRun(DiTWeights weights, IDiTBackend backend, Workers workers, Compatibility compatibility, CalibrationSet set)
    {
        _backend = backend;
        _workers = workers;
        _config = weights.Config;
        _frame = new DiTFrame(weights, backend, compatibility);
        _conditioner = new Conditioner(weights, backend, compatibility, new BlockStore([], backend));
        _conditions = Conditions(set.Timesteps, set.Labels);
        _modulations = backend.Allocate(ElementType.F32, set.Count, 6 * _config.HiddenSize);
        _batchSize = Math.Clamp(BatchTokens / _config.TokenCount, 1, set.Count);
        _state = new DiTState(backend, _config, _batchSize, _batchSize, [null], [null]);
        _backend.Upload<int>([.. Enumerable.Range(0, _batchSize)], _state.ImageOfSample);
        Tokens = new TokenStates(set.Count, _config.TokenCount * _config.HiddenSize);
    }

    /// <summary>The residual stream as it stands.</summary>
    public TokenStates Tokens { get; }

    /// <summary>SiLU(c) for timesteps and classes: what adaLN layers read, [n, H].</summary>
    public float[] ModulationInputs((int[] Timesteps, int[] Labels) pairs)
    {
        using var table = Conditions(pairs.Timesteps, pairs.Labels);
        var values = new float[table.Condition.Count];
        _backend.Download<float>(table.Condition, values);
        return values;
    }

    /// <summary>Embeds the samples' latents: the residual stream before the first block.</summary>
    public void Embed(CalibrationSet set)
    {
        var padded = new float[_batchSize * _config.LatentCount];
        ForBatches((first, count) =>
        {
            set.Latents.AsSpan(first * _config.LatentCount, count * _config.LatentCount).CopyTo(padded);
            _backend.Upload<float>(padded, _state.Latents);
            _frame.Embed(_state);
            _backend.Download(_state.Tokens, Tokens.Samples(first, count));
        });
    }

    /// <summary>Computes a block's modulation for all samples.</summary>
    /// <param name="modulation">The block's adaLN layer.</param>
    public void Modulate(LinearWeight modulation)
    {
        using var prepared = _backend.Prepare(new UnpackedWeight(modulation));
        _backend.Linear(_conditions.Condition, prepared, Epilogue.None, _modulations);
    }

    /// <summary>Runs a block over all samples, after <see cref="Modulate"/>.</summary>
    /// <param name="layers">Weights of qkv, proj, fc1, fc2.</param>
    /// <param name="rounding">How the input of each is quantized.</param>
    /// <param name="observer">Sees every input, in the order of the samples.</param>
    /// <param name="keeps">Whether the residual stream becomes what the block makes of it.</param>
    /// <param name="progress">Told the fraction of the samples that are through.</param>
    public void RunBlock(IReadOnlyList<LinearWeight> layers, IReadOnlyList<ActivationFormat?> rounding, LayerInputs? observer, bool keeps, IProgress<double>? progress = null)
    {
        using var block = new PreparedBlock(Prepare(layers[0]), Prepare(layers[1]), Prepare(layers[2]), Prepare(layers[3]));
        PreparedLinear[] order = [block.Qkv, block.Projection, block.Fc1, block.Fc2];
        var rows = new int[_batchSize];
        ForBatches((first, count) =>
        {
            for (var i = 0; i < _batchSize; i++) rows[i] = Math.Min(first + i, Tokens.SampleCount - 1);
            _backend.Upload<int>(rows, _state.ModulationRowOfSample);
            _backend.Upload<float>(Tokens.Samples(first, count), _state.Tokens);
            _frame.RunBlock(block, new Modulation(_modulations, _state.ModulationRowOfSample), _state, (layer, input) =>
            {
                var index = Array.IndexOf(order, layer);
                var values = Read(input);
                Round(values, input.RowLength, rounding[index]);
                if (rounding[index] is not null) _backend.Upload<float>(values, input);
                observer?.Invoke(index, values[..(count * _config.TokenCount * input.RowLength)]);
            });
            if (keeps) _backend.Download(_state.Tokens, Tokens.Samples(first, count));
            progress?.Report((first + count) / (double)Tokens.SampleCount);
        });
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _frame.Dispose();
        _conditioner.Dispose();
        _conditions.Dispose();
        _modulations.Dispose();
        _state.Dispose();
        Tokens.Dispose();
    }

    private PreparedLinear Prepare(LinearWeight weight) => _backend.Prepare(new UnpackedWeight(weight));

    private ModulationTable Conditions(int[] timesteps, int[] labels)
    {
        var table = new ModulationTable(_backend, _config with { Depth = 0 }, timesteps.Length);
        _conditioner.Fill(timesteps, labels, table);
        return table;
    }

    /// <summary>Batches of one size; rows past the end of the last hold what the batch before left there.</summary>
    private void ForBatches(Action<int, int> body)
    {
        for (var first = 0; first < Tokens.SampleCount; first += _batchSize) body(first, Math.Min(_batchSize, Tokens.SampleCount - first));
    }

    private Span<float> Read(Tensor input)
    {
        if (_inputs.Length < input.Count) _inputs = new float[input.Count];
        var values = _inputs.AsSpan(0, input.Count);
        _backend.Download(input, values);
        return values;
    }

    /// <summary>Brings every row to what the format can hold: x → s(q − Z).</summary>
    private unsafe void Round(Span<float> values, int rowLength, ActivationFormat? format)
    {
        if (format is null) return;
        const int taskRows = 32;
        var rowCount = values.Length / rowLength;
        var grid = format.Grid(rowLength);
        fixed (float* start = values)
        {
            var rows = start;
            _workers.For((rowCount + taskRows - 1) / taskRows, task =>
            {
                var (codes, scales, zeros) = (new byte[rowLength], new float[grid.Count], new byte[grid.Count]);
                for (var r = task * taskRows; r < Math.Min(rowCount, (task + 1) * taskRows); r++)
                {
                    var row = new Span<float>(rows + (nint)r * rowLength, rowLength);
                    ActivationQuantizer.Quantize(row, format, codes, scales, zeros);
                    for (var g = 0; g < grid.Count; g++)
                        for (var i = grid.Start(g); i < grid.Start(g) + grid.Length(g); i++) row[i] = scales[g] * (codes[i] - zeros[g]);
                }
            });
        }
    }
}

using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Models;

/// <summary>
/// Timestep and class to adaLN modulation. It depends on nothing else, so it is computed once per request for all
/// timesteps, as one matrix product per layer, and a sampling step never touches these weights, a third of the model.
/// </summary>
public sealed class Conditioner : IDisposable
{
    private readonly ResourceList _owned = new();
    private readonly IDiTBackend _backend;
    private readonly DiTConfig _config;
    private readonly PreparedLinear _timestepIn;
    private readonly PreparedLinear _timestepOut;
    private readonly PreparedLinear _finalModulation;
    private readonly BlockStore _blocks;
    private readonly Tensor _labelTable;
    private readonly Tensor _frequencies;

    internal Conditioner(DiTWeights weights, IDiTBackend backend, Compatibility compatibility, BlockStore blocks)
    {
        _backend = backend;
        _config = weights.Config;
        _blocks = blocks;
        try
        {
            _timestepIn = _owned.Add(backend.Prepare(weights.TimestepIn));
            _timestepOut = _owned.Add(backend.Prepare(weights.TimestepOut));
            _finalModulation = _owned.Add(backend.Prepare(weights.FinalModulation));
            var table = new float[weights.LabelTable.Outputs * weights.LabelTable.Inputs];
            weights.LabelTable.CopyRows(0, weights.LabelTable.Outputs, table);
            _labelTable = _owned.Add(backend.Allocate(ElementType.F32, weights.LabelTable.Outputs, weights.LabelTable.Inputs));
            backend.Upload<float>(table, _labelTable);
            _frequencies = _owned.Add(backend.Allocate(ElementType.F32, _config.FrequencySize / 2));
            backend.Upload<float>(Frequencies(_config.FrequencySize / 2, compatibility), _frequencies);
        }
        catch
        {
            _owned.Dispose();
            throw;
        }
    }

    /// <summary>Computes rows of a table: row first + i belongs to timesteps[i] and labels[i].</summary>
    /// <param name="timesteps">Original indices, 0 to 999.</param>
    /// <param name="labels">Classes; <see cref="DiTConfig.NullClass"/> for the unconditional rows.</param>
    /// <param name="table">The table; its other rows stay as they are.</param>
    /// <param name="firstRow">The first row.</param>
    /// <exception cref="UsageException">A class that the model does not have.</exception>
    public void Fill(ReadOnlySpan<int> timesteps, ReadOnlySpan<int> labels, ModulationTable table, int firstRow = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(labels.Length, timesteps.Length);
        foreach (var label in labels)
            if (label < 0 || label > _config.NullClass)
                throw new UsageException($"class {label} does not exist: this model knows 0 to {_config.ClassCount - 1}, and {_config.NullClass} for none");
        // A whole table is filled again and again by a sampling run, which may not allocate views.
        var count = timesteps.Length;
        var isWhole = count == table.RowCount && firstRow == 0;
        Tensor First(Tensor part) => isWhole ? part : part.Prefix(count);
        Tensor Filled(Tensor part) => isWhole ? part : part.Rows(firstRow, count);

        Tensor timestepRows = First(table.Timesteps), labelRows = First(table.Labels), features = First(table.Features);
        Tensor hidden = First(table.Hidden), embedding = First(table.Timestep), condition = First(table.Condition);
        _backend.Upload(timesteps, timestepRows);
        _backend.Upload(labels, labelRows);
        _backend.TimestepFeatures(timestepRows, _frequencies, features);
        _backend.Linear(features, _timestepIn, Epilogue.Activate(Activation.Silu), hidden);
        _backend.Linear(hidden, _timestepOut, Epilogue.None, embedding);
        _backend.Condition(embedding, _labelTable, labelRows, condition);
        for (var i = 0; i < _blocks.Count; i++)
        {
            var modulation = _blocks.TakeModulation(i);
            _backend.Linear(condition, modulation, Epilogue.None, Filled(table.Blocks[i]));
            _blocks.Return(modulation);
        }

        _backend.Linear(condition, _finalModulation, Epilogue.None, Filled(table.Final));
    }

    /// <inheritdoc/>
    public void Dispose() => _owned.Dispose();

    /// <summary>wᵢ = 10000^(−i/half) in the published code, 10000^(−i/(half − 1)) in diffusers; in fp32, as both compute it.</summary>
    internal static float[] Frequencies(int half, Compatibility compatibility)
    {
        var divisor = compatibility == Compatibility.Diffusers ? half - 1 : half;
        var frequencies = new float[half];
        for (var i = 0; i < half; i++) frequencies[i] = MathF.Exp(-9.210340371976184f * i / divisor);
        return frequencies;
    }
}

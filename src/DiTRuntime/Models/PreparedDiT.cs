using DiTRuntime.Backends;
using DiTRuntime.Quantization;

namespace DiTRuntime.Models;

/// <summary>The weights of one block in a backend's layout, but for its modulation, which is used once per request.</summary>
/// <param name="Qkv">[3H, H].</param>
/// <param name="Projection">[H, H].</param>
/// <param name="Fc1">[M, H].</param>
/// <param name="Fc2">[H, M].</param>
internal sealed record PreparedBlock(PreparedLinear Qkv, PreparedLinear Projection, PreparedLinear Fc1, PreparedLinear Fc2) : IDisposable
{
    /// <summary>Prepares a block.</summary>
    public static PreparedBlock Of(BlockWeights weights, IDiTBackend backend)
    {
        var prepared = new List<PreparedLinear>(4);
        try
        {
            foreach (var layer in (LinearWeight[])[weights.Qkv, weights.Projection, weights.Fc1, weights.Fc2]) prepared.Add(backend.Prepare(layer));
            return new PreparedBlock(prepared[0], prepared[1], prepared[2], prepared[3]);
        }
        catch
        {
            foreach (var layer in prepared) layer.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Qkv.Dispose();
        Projection.Dispose();
        Fc1.Dispose();
        Fc2.Dispose();
    }
}

/// <summary>Which of the blocks' weights a model holds prepared; the rest is prepared for each use and dropped.</summary>
public enum WeightResidency
{
    /// <summary>All of them.</summary>
    All,

    /// <summary>All but adaLN, a third of the model, which is needed once per request.</summary>
    WithoutModulation,

    /// <summary>None: little memory, slower passes that allocate.</summary>
    None,
}

/// <summary>The prepared blocks of a model: all of them held, or each prepared for one use.</summary>
/// <remarks>What is taken is returned after use. Held blocks make a pass allocate nothing; streamed ones keep it in one block's memory.</remarks>
internal sealed class BlockStore : IDisposable
{
    private readonly IReadOnlyList<BlockWeights> _weights;
    private readonly IDiTBackend _backend;
    private readonly PreparedBlock[]? _blocks;
    private readonly PreparedLinear[]? _modulations;

    /// <param name="weights">The blocks.</param>
    /// <param name="backend">Where they run.</param>
    /// <param name="residency">What is held; the rest is prepared anew for every use, which reads the file each time.</param>
    /// <param name="progress">Told the fraction of the blocks that are ready.</param>
    public BlockStore(IReadOnlyList<BlockWeights> weights, IDiTBackend backend, WeightResidency residency = WeightResidency.All, IProgress<double>? progress = null)
    {
        _weights = weights;
        _backend = backend;
        if (residency == WeightResidency.None) return;
        _blocks = new PreparedBlock[weights.Count];
        if (residency == WeightResidency.All) _modulations = new PreparedLinear[weights.Count];
        try
        {
            for (var i = 0; i < weights.Count; i++)
            {
                if (_modulations is not null) _modulations[i] = backend.Prepare(weights[i].Modulation);
                _blocks[i] = PreparedBlock.Of(weights[i], backend);
                progress?.Report((i + 1.0) / weights.Count);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Number of blocks.</summary>
    public int Count => _weights.Count;

    /// <summary>A block's layers.</summary>
    public PreparedBlock Take(int block) => _blocks?[block] ?? PreparedBlock.Of(_weights[block], _backend);

    /// <summary>A block's adaLN layer [6H, H].</summary>
    public PreparedLinear TakeModulation(int block) => _modulations?[block] ?? _backend.Prepare(_weights[block].Modulation);

    /// <summary>Gives back a block's layers.</summary>
    public void Return(PreparedBlock taken)
    {
        if (_blocks is null) taken.Dispose();
    }

    /// <summary>Gives back a block's adaLN layer.</summary>
    public void Return(PreparedLinear taken)
    {
        if (_modulations is null) taken.Dispose();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        // Elements are missing where loading broke off.
        foreach (var block in _blocks ?? []) block?.Dispose();
        foreach (var modulation in _modulations ?? []) modulation?.Dispose();
    }
}

using DiTRuntime.Backends;

namespace DiTRuntime.Models;

/// <summary>The weights of one block in a backend's layout, but for its modulation, which is used once per request.</summary>
/// <param name="Qkv">[3H, H].</param>
/// <param name="Projection">[H, H].</param>
/// <param name="Fc1">[M, H].</param>
/// <param name="Fc2">[H, M].</param>
internal sealed record PreparedBlock(PreparedLinear Qkv, PreparedLinear Projection, PreparedLinear Fc1, PreparedLinear Fc2) : IDisposable
{
    /// <summary>Prepares a block.</summary>
    public static PreparedBlock Of(BlockWeights weights, IDiTBackend backend) =>
        new(backend.Prepare(weights.Qkv), backend.Prepare(weights.Projection), backend.Prepare(weights.Fc1), backend.Prepare(weights.Fc2));

    /// <inheritdoc/>
    public void Dispose()
    {
        Qkv.Dispose();
        Projection.Dispose();
        Fc1.Dispose();
        Fc2.Dispose();
    }
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
    /// <param name="streams">Whether each is prepared anew for every use, which reads the file in every pass.</param>
    /// <param name="progress">Told the fraction of the blocks that are ready.</param>
    public BlockStore(IReadOnlyList<BlockWeights> weights, IDiTBackend backend, bool streams = false, IProgress<double>? progress = null)
    {
        _weights = weights;
        _backend = backend;
        if (streams) return;
        _blocks = new PreparedBlock[weights.Count];
        _modulations = new PreparedLinear[weights.Count];
        for (var i = 0; i < weights.Count; i++)
        {
            _modulations[i] = backend.Prepare(weights[i].Modulation);
            _blocks[i] = PreparedBlock.Of(weights[i], backend);
            progress?.Report((i + 1.0) / weights.Count);
        }
    }

    /// <summary>Number of blocks.</summary>
    public int Count => _weights.Count;

    /// <summary>A block's layers.</summary>
    public PreparedBlock Take(int block) => _blocks?[block] ?? PreparedBlock.Of(_weights[block], _backend);

    /// <summary>A block's adaLN layer [6H, H].</summary>
    public PreparedLinear TakeModulation(int block) => _modulations?[block] ?? _backend.Prepare(_weights[block].Modulation);

    /// <summary>Gives back what was taken.</summary>
    public void Return(IDisposable taken)
    {
        if (_blocks is null) taken.Dispose();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var block in _blocks ?? []) block.Dispose();
        foreach (var modulation in _modulations ?? []) modulation.Dispose();
    }
}

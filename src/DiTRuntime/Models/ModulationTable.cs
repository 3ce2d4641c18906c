using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Models;

/// <summary>The adaLN output of (timestep, class) pairs, a row each: what the blocks shift, scale and gate by.</summary>
public sealed class ModulationTable : IDisposable
{
    private readonly ResourceList _owned = new();

    /// <param name="backend">Where it lives.</param>
    /// <param name="config">The architecture.</param>
    /// <param name="rowCount">R: pairs it holds.</param>
    public ModulationTable(IDiTBackend backend, DiTConfig config, int rowCount)
    {
        var hidden = config.HiddenSize;
        RowCount = rowCount;
        try
        {
            Blocks = new Tensor[config.Depth];
            for (var i = 0; i < Blocks.Length; i++) Blocks[i] = _owned.Add(backend.Allocate(ElementType.F32, rowCount, 6 * hidden));
            Final = _owned.Add(backend.Allocate(ElementType.F32, rowCount, 2 * hidden));
            Features = _owned.Add(backend.AllocateActivations(null, rowCount, config.FrequencySize));
            Hidden = _owned.Add(backend.AllocateActivations(null, rowCount, hidden));
            Timestep = _owned.Add(backend.AllocateActivations(null, rowCount, hidden));
            Timesteps = _owned.Add(backend.Allocate(ElementType.I32, rowCount));
            Labels = _owned.Add(backend.Allocate(ElementType.I32, rowCount));
            Condition = _owned.Add(backend.AllocateActivations(null, rowCount, hidden));
        }
        catch
        {
            _owned.Dispose();
            throw;
        }
    }

    /// <summary>R: pairs it holds.</summary>
    public int RowCount { get; }

    /// <summary>Per block [R, 6H].</summary>
    public Tensor[] Blocks { get; }

    /// <summary>[R, 2H]: shift and scale of the final layer.</summary>
    public Tensor Final { get; }

    /// <summary>t [R, H]: the timestep embedding, before the class is added.</summary>
    public Tensor Timestep { get; }

    internal Tensor Timesteps { get; }

    internal Tensor Features { get; }

    internal Tensor Hidden { get; }

    internal Tensor Labels { get; }

    internal Tensor Condition { get; }

    /// <summary>Bytes of one row.</summary>
    public static long RowBytes(DiTConfig config) => (6L * config.Depth + 2) * config.HiddenSize * sizeof(float);

    /// <inheritdoc/>
    public void Dispose() => _owned.Dispose();
}

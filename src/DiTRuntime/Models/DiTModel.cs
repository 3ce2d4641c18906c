using DiTRuntime.Backends;

namespace DiTRuntime.Models;

/// <summary>A DiT on a backend: the forward pass of Peebles and Xie (2023), section 3.2, with adaLN-Zero blocks.</summary>
public sealed class DiTModel : IDisposable
{
    private readonly ResourceList _owned = new();
    private readonly DiTWeights _weights;
    private readonly DiTFrame _frame;
    private readonly BlockStore _blocks;

    /// <summary>Prepares the weights. Dense tensors are read once and copied; packed ones stay in the mapped file.</summary>
    /// <param name="weights">The weights; the model takes them over and disposes them with itself.</param>
    /// <param name="backend">Where the model runs.</param>
    /// <param name="compatibility">Which published implementation to agree with.</param>
    /// <param name="progress">Told the fraction of the layers that are ready.</param>
    /// <exception cref="InvalidFileException">A weight is not finite.</exception>
    /// <param name="residency">Which blocks' weights it holds prepared.</param>
    public DiTModel(
        DiTWeights weights, IDiTBackend backend, Compatibility compatibility, IProgress<double>? progress = null, WeightResidency residency = WeightResidency.All)
    {
        _weights = weights;
        Config = weights.Config;
        Backend = backend;
        Compatibility = compatibility;
        _owned.Add(weights);
        try
        {
            _frame = _owned.Add(new DiTFrame(weights, backend, compatibility));
            _blocks = _owned.Add(new BlockStore(weights.Blocks, backend, residency, progress));
            Conditioner = _owned.Add(new Conditioner(weights, backend, compatibility, _blocks));
        }
        catch
        {
            _owned.Dispose();
            throw;
        }
    }

    /// <summary>The architecture.</summary>
    public DiTConfig Config { get; }

    /// <summary>Where the model runs.</summary>
    public IDiTBackend Backend { get; }

    /// <summary>Which published implementation it agrees with.</summary>
    public Compatibility Compatibility { get; }

    /// <summary>Turns timesteps and classes into the tables that <see cref="Forward"/> reads.</summary>
    public Conditioner Conditioner { get; }

    /// <summary>Predicts noise (and variance) for every sample of the batch: state.Latents → state.Prediction.</summary>
    /// <param name="state">Latents and indices in, prediction out.</param>
    /// <param name="table">Modulation rows, filled.</param>
    /// <param name="observer">Sees the tokens after the embedding (block −1) and after each block; for checks and calibration.</param>
    public void Forward(DiTState state, ModulationTable table, Action<int, Tensor>? observer = null)
    {
        var final = new Modulation(table.Final, state.ModulationRowOfSample);
        RunBlocks(state, table, final, observer);
        _frame.Finish(final, state);
    }

    /// <summary>Takes one sampling step: state.Latents in place. The same work every time, so that it can be repeated as it was recorded.</summary>
    /// <param name="state">Latents and indices.</param>
    /// <param name="table">Modulation rows, filled.</param>
    /// <param name="rowOfSample">I32 [steps, B]: the table row of each sample at each step.</param>
    /// <param name="updates">The run's updates; moves on to the next step.</param>
    /// <param name="noise">F32 [2, images, C, S, S], or null where no step adds noise.</param>
    public void Step(DiTState state, ModulationTable table, Tensor rowOfSample, UpdateTable updates, Tensor? noise) =>
        Step(state, table, new Modulation(table.Final, rowOfSample, updates.Step), updates, noise);

    /// <summary>Takes one sampling step with a table of one step, set anew before each: each sample's row is <see cref="DiTState.ModulationRowOfSample"/>.</summary>
    /// <inheritdoc cref="Step(DiTState, ModulationTable, Tensor, UpdateTable, Tensor?)"/>
    internal void Step(DiTState state, ModulationTable table, UpdateTable updates, Tensor? noise) =>
        Step(state, table, new Modulation(table.Final, state.ModulationRowOfSample), updates, noise);

    /// <summary>Allocates what a forward pass of this model works in.</summary>
    /// <param name="imageCount">Latents in flight.</param>
    /// <param name="sampleCount">B: rows of the batch.</param>
    public DiTState CreateState(int imageCount, int sampleCount) => _frame.CreateState(imageCount, sampleCount, _weights.Blocks);

    private void Step(DiTState state, ModulationTable table, in Modulation final, UpdateTable updates, Tensor? noise)
    {
        RunBlocks(state, table, final, observer: null);
        _frame.FinishStep(final, state, updates, noise);
    }

    private void RunBlocks(DiTState state, ModulationTable table, Modulation modulation, Action<int, Tensor>? observer)
    {
        _frame.Embed(state);
        observer?.Invoke(-1, state.Tokens);
        for (var i = 0; i < _blocks.Count; i++)
        {
            var block = _blocks.Take(i);
            _frame.RunBlock(block, modulation with { Table = table.Blocks[i] }, state);
            _blocks.Return(block);
            observer?.Invoke(i, state.Tokens);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _owned.Dispose();
}

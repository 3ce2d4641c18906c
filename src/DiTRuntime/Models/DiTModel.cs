using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Models;

/// <summary>A DiT on a backend: the forward pass of Peebles and Xie (2023), section 3.2, with adaLN-Zero blocks.</summary>
public sealed class DiTModel : IDisposable
{
    /// <summary>Chunks of a block's modulation: shift, scale, gate of attention; then of the MLP.</summary>
    private const int AttentionShift = 0, AttentionGate = 2, MlpShift = 3, MlpGate = 5;

    private readonly DiTWeights _weights;
    private readonly PreparedLinear _patchEmbed;
    private readonly PreparedLinear _finalLinear;
    private readonly PreparedBlock[] _blocks;
    private readonly Tensor _positions;
    private readonly float _mlpEpsilon;

    /// <summary>Prepares the weights. Dense tensors are read once and copied; packed ones stay in the mapped file.</summary>
    /// <param name="weights">The weights; the model takes them over and disposes them with itself.</param>
    /// <param name="backend">Where the model runs.</param>
    /// <param name="compatibility">Which published implementation to agree with.</param>
    /// <param name="progress">Told the fraction of the layers that are ready.</param>
    /// <exception cref="InvalidFileException">A weight is not finite.</exception>
    public DiTModel(DiTWeights weights, IDiTBackend backend, Compatibility compatibility, IProgress<double>? progress = null)
    {
        _weights = weights;
        Config = weights.Config;
        Backend = backend;
        Compatibility = compatibility;
        // diffusers leaves its second norm at the default epsilon.
        _mlpEpsilon = compatibility == Compatibility.Diffusers ? 1e-5f : 1e-6f;
        _positions = backend.Allocate(ElementType.F32, Config.TokenCount, Config.HiddenSize);
        backend.Upload<float>(weights.Positions, _positions);
        _patchEmbed = backend.Prepare(weights.PatchEmbed);
        _blocks = new PreparedBlock[Config.Depth];
        for (var i = 0; i < _blocks.Length; i++)
        {
            var block = weights.Blocks[i];
            _blocks[i] = new PreparedBlock(
                backend.Prepare(block.Modulation), backend.Prepare(block.Qkv), backend.Prepare(block.Projection), backend.Prepare(block.Fc1), backend.Prepare(block.Fc2));
            progress?.Report((i + 1.0) / _blocks.Length);
        }

        _finalLinear = backend.Prepare(weights.FinalLinear);
        Conditioner = new Conditioner(weights, backend, compatibility, _blocks);
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
        Backend.PatchEmbed(state.Latents, state.ImageOfSample, _patchEmbed, _positions, state.Tokens);
        observer?.Invoke(-1, state.Tokens);
        for (var i = 0; i < _blocks.Length; i++)
        {
            ForwardBlock(_blocks[i], new Modulation(table.Blocks[i], state.ModulationRowOfSample), state);
            observer?.Invoke(i, state.Tokens);
        }

        var normed = state.InputOf(_finalLinear);
        Backend.NormModulate(state.Tokens, new Modulation(table.Final, state.ModulationRowOfSample), 0, 1e-6f, normed);
        Backend.Linear(normed, _finalLinear, Epilogue.None, state.Patches);
        Backend.Unpatchify(state.Patches, state.Prediction);
    }

    /// <summary>Allocates what a forward pass of this model works in.</summary>
    /// <param name="imageCount">Latents in flight.</param>
    /// <param name="sampleCount">B: rows of the batch.</param>
    public DiTState CreateState(int imageCount, int sampleCount) =>
        new(Backend, Config, imageCount, sampleCount, [.. _blocks.SelectMany(b => new[] { b.Qkv, b.Projection, b.Fc1 }), _finalLinear], [.. _blocks.Select(b => b.Fc2)]);

    /// <inheritdoc/>
    public void Dispose()
    {
        Conditioner.Dispose();
        foreach (var block in _blocks) block.Dispose();
        _patchEmbed.Dispose();
        _finalLinear.Dispose();
        _positions.Dispose();
        _weights.Dispose();
    }

    private void ForwardBlock(PreparedBlock block, in Modulation modulation, DiTState s)
    {
        var (normed, attended) = (s.InputOf(block.Qkv), s.InputOf(block.Projection));
        Backend.NormModulate(s.Tokens, modulation, AttentionShift, 1e-6f, normed);
        Backend.Linear(normed, block.Qkv, Epilogue.None, s.Qkv);
        Backend.Attention(s.Qkv, Config.HeadCount, attended);
        Backend.Linear(attended, block.Projection, Epilogue.GatedResidual(modulation, AttentionGate), s.Tokens);

        var (normedAgain, hidden) = (s.InputOf(block.Fc1), s.InputOf(block.Fc2));
        Backend.NormModulate(s.Tokens, modulation, MlpShift, _mlpEpsilon, normedAgain);
        Backend.Linear(normedAgain, block.Fc1, Epilogue.Activate(Activation.GeluTanh), hidden);
        Backend.Linear(hidden, block.Fc2, Epilogue.GatedResidual(modulation, MlpGate), s.Tokens);
    }
}

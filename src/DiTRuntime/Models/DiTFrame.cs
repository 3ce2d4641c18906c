using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Models;

/// <summary>
/// The parts of a forward pass: embedding, one block, final layer. It holds what stands outside the blocks and is given a
/// block's weights with each call, so that a caller may hold all of them (<see cref="DiTModel"/>) or one at a time (calibration).
/// </summary>
internal sealed class DiTFrame : IDisposable
{
    /// <summary>Chunks of a block's modulation: shift, scale, gate of attention; then of the MLP.</summary>
    public const int AttentionShift = 0, AttentionGate = 2, MlpShift = 3, MlpGate = 5;

    /// <summary>What the norms before attention and in the final layer add to the variance.</summary>
    public const float AttentionEpsilon = 1e-6f, FinalEpsilon = 1e-6f;

    private readonly ResourceList _owned = new();
    private readonly IDiTBackend _backend;
    private readonly DiTConfig _config;
    private readonly PreparedLinear _patchEmbed;
    private readonly PreparedLinear _finalLinear;
    private readonly Tensor _positions;
    private readonly float _mlpEpsilon;

    /// <param name="weights">The weights; not taken over.</param>
    /// <param name="backend">Where the model runs.</param>
    /// <param name="compatibility">Which published implementation to agree with.</param>
    public DiTFrame(DiTWeights weights, IDiTBackend backend, Compatibility compatibility)
    {
        _backend = backend;
        _config = weights.Config;
        _mlpEpsilon = MlpEpsilon(compatibility);
        try
        {
            _positions = _owned.Add(backend.Allocate(ElementType.F32, _config.TokenCount, _config.HiddenSize));
            backend.Upload<float>(weights.Positions, _positions);
            _patchEmbed = _owned.Add(backend.Prepare(weights.PatchEmbed, LinearUse.PatchEmbed));
            _finalLinear = _owned.Add(backend.Prepare(weights.FinalLinear, LinearUse.FinishStep));
        }
        catch
        {
            _owned.Dispose();
            throw;
        }
    }

    /// <summary>What the norm before the MLP adds to the variance; diffusers leaves that norm at the default.</summary>
    public static float MlpEpsilon(Compatibility compatibility) => compatibility == Compatibility.Diffusers ? 1e-5f : 1e-6f;

    /// <summary>Allocates what passes through these blocks work in.</summary>
    /// <param name="imageCount">Latents in flight.</param>
    /// <param name="sampleCount">B: rows of the batch.</param>
    /// <param name="blocks">Blocks whose layers' formats are to be served; others with the same formats run too.</param>
    public DiTState CreateState(int imageCount, int sampleCount, IReadOnlyList<BlockWeights> blocks) => new(
        _backend,
        _config,
        imageCount,
        sampleCount,
        [_finalLinear.Activations, .. blocks.SelectMany(b => new[] { b.Qkv, b.Projection, b.Fc1 }).Select(layer => layer.Activations)],
        [.. blocks.Select(b => b.Fc2.Activations)]);

    /// <summary>state.Latents → state.Tokens.</summary>
    public void Embed(DiTState state) => _backend.PatchEmbed(state.Latents, state.ImageOfSample, _patchEmbed, _positions, state.Tokens);

    /// <summary>Runs one adaLN-Zero block: state.Tokens in place.</summary>
    /// <param name="block">The block's weights.</param>
    /// <param name="modulation">Its modulation table, and the row of each sample.</param>
    /// <param name="s">What the pass works in.</param>
    /// <param name="inputObserver">Sees what each linear layer is about to read, and may change it; for calibration.</param>
    public void RunBlock(PreparedBlock block, in Modulation modulation, DiTState s, Action<PreparedLinear, Tensor>? inputObserver = null)
    {
        var (normed, attended) = (s.TokenInput(block.Qkv), s.TokenInput(block.Projection));
        _backend.NormModulate(s.Tokens, modulation, AttentionShift, AttentionEpsilon, normed);
        inputObserver?.Invoke(block.Qkv, normed);
        _backend.Linear(normed, block.Qkv, Epilogue.SplitHeads(_config.HeadCount), s.Qkv);
        _backend.Attention(s.Qkv, _config.HeadCount, attended);
        inputObserver?.Invoke(block.Projection, attended);
        _backend.Linear(attended, block.Projection, Epilogue.GatedResidual(modulation, AttentionGate), s.Tokens);

        var (normedAgain, hidden) = (s.TokenInput(block.Fc1), s.HiddenInput(block.Fc2));
        _backend.NormModulate(s.Tokens, modulation, MlpShift, _mlpEpsilon, normedAgain);
        inputObserver?.Invoke(block.Fc1, normedAgain);
        _backend.Linear(normedAgain, block.Fc1, Epilogue.Activate(Activation.GeluTanh), hidden);
        inputObserver?.Invoke(block.Fc2, hidden);
        _backend.Linear(hidden, block.Fc2, Epilogue.GatedResidual(modulation, MlpGate), s.Tokens);
    }

    /// <summary>state.Tokens → state.Prediction.</summary>
    /// <param name="modulation">The final layer's shift and scale, and the row of each sample.</param>
    /// <param name="state">What the pass works in.</param>
    public void Finish(in Modulation modulation, DiTState state)
    {
        var normed = state.TokenInput(_finalLinear);
        _backend.NormModulate(state.Tokens, modulation, 0, FinalEpsilon, normed);
        _backend.Linear(normed, _finalLinear, Epilogue.None, state.Patches);
        _backend.Unpatchify(state.Patches, state.Prediction);
    }

    /// <summary>state.Tokens → state.Latents, one sampling step further.</summary>
    /// <param name="modulation">The final layer's shift and scale, and the row of each sample.</param>
    /// <param name="state">What the pass works in.</param>
    /// <param name="updates">The run's updates.</param>
    /// <param name="noise">The run's noise, or null where no step adds any.</param>
    public void FinishStep(in Modulation modulation, DiTState state, UpdateTable updates, Tensor? noise) => _backend.FinishStep(new StepEnd(
        state.Tokens, modulation, FinalEpsilon, _finalLinear, state.TokenInput(_finalLinear), state.Patches, state.Prediction, updates, noise, state.Latents));

    /// <inheritdoc/>
    public void Dispose() => _owned.Dispose();
}

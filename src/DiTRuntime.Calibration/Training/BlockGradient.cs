using DiTRuntime.Backends;
using DiTRuntime.Backends.Training;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;

namespace DiTRuntime.Calibration.Training;

/// <summary>A DiT block forward and backward: Peebles and Xie (2023), section 3.2, adaLN-Zero.</summary>
/// <remarks>
/// With m = condition·Wₘᵀ + bₘ in six chunks: x′ = x + m₂·proj(attention(qkv(norm(x; m₀, m₁)))), x″ = x′ + m₅·fc2(GELU(fc1(norm(x′; m₃, m₄)))). What the
/// way back needs and a product has made is kept (m, qkv, attention, both branches, x′, the hidden layer before GELU); norms, GELU and probabilities are computed again.
/// </remarks>
internal sealed class BlockGradient : IDisposable
{
    private readonly ResourceList _owned = new();
    private readonly ITrainingBackend _backend;
    private readonly int _headCount;
    private readonly float _mlpEpsilon;

    // Kept from forward to backward.
    private readonly Tensor _modulation, _qkv, _attended, _attentionBranch, _middle, _hidden, _mlpBranch;

    // Of use only within a pass.
    private readonly Tensor _tokens, _activated, _tokenGradient, _hiddenGradient, _qkvGradient, _modulationGradient;

    /// <param name="backend">Where it runs.</param>
    /// <param name="config">The architecture.</param>
    /// <param name="compatibility">Which published implementation's norms.</param>
    /// <param name="sampleCount">B.</param>
    public BlockGradient(ITrainingBackend backend, DiTConfig config, Compatibility compatibility, int sampleCount)
    {
        _backend = backend;
        _headCount = config.HeadCount;
        _mlpEpsilon = DiTFrame.MlpEpsilon(compatibility);
        var (hidden, mlp) = (config.HiddenSize, config.MlpSize);
        try
        {
            _modulation = _owned.Add(backend.Allocate(ElementType.F32, sampleCount, 6 * hidden));
            _modulationGradient = _owned.Add(backend.Allocate(ElementType.F32, sampleCount, 6 * hidden));
            _qkv = Tokens(3 * hidden);
            _qkvGradient = Tokens(3 * hidden);
            _attended = Tokens(hidden);
            _attentionBranch = Tokens(hidden);
            _middle = Tokens(hidden);
            _mlpBranch = Tokens(hidden);
            _tokens = Tokens(hidden);
            _tokenGradient = Tokens(hidden);
            _hidden = Tokens(mlp);
            _activated = Tokens(mlp);
            _hiddenGradient = Tokens(mlp);
        }
        catch
        {
            _owned.Dispose();
            throw;
        }

        Tensor Tokens(int width) => _owned.Add(backend.Allocate(ElementType.F32, sampleCount, config.TokenCount, width));
    }

    /// <summary>Runs the block and keeps what <see cref="Backward"/> needs.</summary>
    /// <param name="block">The weights.</param>
    /// <param name="condition">in SiLU(c) [B, H].</param>
    /// <param name="input">in x [B, T, H].</param>
    /// <param name="output">out x″ [B, T, H]; not the input.</param>
    public void Forward(TrainingBlock block, Tensor condition, Tensor input, Tensor output)
    {
        block.Forward(TrainingBlock.Modulation, condition, _modulation);

        _backend.NormModulateForward(input, _modulation, DiTFrame.AttentionShift, DiTFrame.AttentionEpsilon, _tokens);
        block.Forward(TrainingBlock.Qkv, _tokens, _qkv);
        _backend.AttentionForward(_qkv, _headCount, _attended);
        block.Forward(TrainingBlock.Projection, _attended, _attentionBranch);
        _backend.Copy(input, _middle);
        _backend.GateForward(_attentionBranch, _modulation, DiTFrame.AttentionGate, _middle);

        _backend.NormModulateForward(_middle, _modulation, DiTFrame.MlpShift, _mlpEpsilon, _tokens);
        block.Forward(TrainingBlock.Fc1, _tokens, _hidden);
        _backend.GeluForward(_hidden, _activated);
        block.Forward(TrainingBlock.Fc2, _activated, _mlpBranch);
        _backend.Copy(_middle, output);
        _backend.GateForward(_mlpBranch, _modulation, DiTFrame.MlpGate, output);
    }

    /// <summary>Takes the gradient back through the block as it last ran, and fills the gradients of its weights and biases.</summary>
    /// <param name="block">The weights of that run.</param>
    /// <param name="condition">in SiLU(c) [B, H] of that run.</param>
    /// <param name="input">in x [B, T, H] of that run.</param>
    /// <param name="gradient">in ∂x″, out ∂x [B, T, H].</param>
    public void Backward(TrainingBlock block, Tensor condition, Tensor input, Tensor gradient)
    {
        // The residual passes ∂x″ on as it is; each branch adds its own to it.
        _backend.GateGradient(gradient, _mlpBranch, _modulation, DiTFrame.MlpGate, _tokenGradient, _modulationGradient);
        _backend.GeluForward(_hidden, _activated);
        block.KeepGradient(TrainingBlock.Fc2, _tokenGradient, _activated);
        block.InputGradient(TrainingBlock.Fc2, _tokenGradient, _hiddenGradient);
        _backend.GeluGradient(_hiddenGradient, _hidden, _hiddenGradient);
        _backend.NormModulateForward(_middle, _modulation, DiTFrame.MlpShift, _mlpEpsilon, _tokens);
        block.KeepGradient(TrainingBlock.Fc1, _hiddenGradient, _tokens);
        block.InputGradient(TrainingBlock.Fc1, _hiddenGradient, _tokenGradient);
        _backend.NormModulateGradient(_tokenGradient, _middle, _modulation, DiTFrame.MlpShift, _mlpEpsilon, gradient, _modulationGradient);

        _backend.GateGradient(gradient, _attentionBranch, _modulation, DiTFrame.AttentionGate, _tokenGradient, _modulationGradient);
        block.KeepGradient(TrainingBlock.Projection, _tokenGradient, _attended);
        block.InputGradient(TrainingBlock.Projection, _tokenGradient, _tokens);
        _backend.AttentionGradient(_tokens, _qkv, _headCount, _qkvGradient);
        _backend.NormModulateForward(input, _modulation, DiTFrame.AttentionShift, DiTFrame.AttentionEpsilon, _tokens);
        block.KeepGradient(TrainingBlock.Qkv, _qkvGradient, _tokens);
        block.InputGradient(TrainingBlock.Qkv, _qkvGradient, _tokenGradient);
        _backend.NormModulateGradient(
            _tokenGradient, input, _modulation, DiTFrame.AttentionShift, DiTFrame.AttentionEpsilon, gradient, _modulationGradient);

        block.KeepGradient(TrainingBlock.Modulation, _modulationGradient, condition);
    }

    /// <inheritdoc/>
    public void Dispose() => _owned.Dispose();
}

namespace DiTRuntime.Backends.Training;

/// <summary>Which product of a linear layer y = x Wᵀ is computed.</summary>
public enum LinearProduct
{
    /// <summary>y [M, N] = x [M, K] Wᵀ, W [N, K].</summary>
    Output,

    /// <summary>∂x [M, K] = ∂y [M, N] W, W [N, K].</summary>
    InputGradient,

    /// <summary>∂W [N, K] = ∂yᵀ x, ∂y [M, N], x [M, K].</summary>
    WeightGradient,
}

/// <summary>
/// The operations of a DiT block and their gradients, written by hand for this fixed set: what calibration needs to train codewords, assignments and biases. Weights are plain
/// matrices here, because they change with every step.
/// </summary>
/// <remarks>
/// Every tensor is F32 from <see cref="IDiTBackend.Allocate"/>. ∂z stands for the loss's derivative by z. "Adds" means that the result is added to what the tensor holds; all else is overwritten. Sums run in a
/// fixed order: the same bits on any number of threads. Letters as in <see cref="IDiTBackend"/>: B samples, T tokens, H hidden size.
/// </remarks>
public interface ITrainingBackend : IDiTBackend
{
    /// <summary>A product of a linear layer.</summary>
    /// <param name="product">Which; says what the operands are.</param>
    /// <param name="left">x, ∂y, ∂y.</param>
    /// <param name="right">W, W, x.</param>
    /// <param name="result">y, ∂x, ∂W.</param>
    /// <param name="adds">Whether the product is added to the result.</param>
    void Multiply(LinearProduct product, Tensor left, Tensor right, Tensor result, bool adds = false);

    /// <summary>y += b for every row.</summary>
    /// <param name="bias">b [N].</param>
    /// <param name="y">[M, N].</param>
    void AddBias(Tensor bias, Tensor y);

    /// <summary>∂b = Σ rows of ∂y.</summary>
    /// <param name="outputGradient">∂y [M, N].</param>
    /// <param name="biasGradient">∂b [N].</param>
    void BiasGradient(Tensor outputGradient, Tensor biasGradient);

    /// <summary>y = (1 + scale)·LayerNorm(x) + shift; shift is chunk c of the sample's modulation, scale chunk c + 1.</summary>
    /// <param name="x">[B, T, H].</param>
    /// <param name="modulation">[B, n·H].</param>
    /// <param name="shiftChunk">c.</param>
    /// <param name="epsilon">Added to the variance.</param>
    /// <param name="y">[B, T, H].</param>
    void NormModulateForward(Tensor x, Tensor modulation, int shiftChunk, float epsilon, Tensor y);

    /// <summary>The gradient of <see cref="NormModulateForward"/>; mean and deviation are computed again.</summary>
    /// <param name="outputGradient">∂y [B, T, H].</param>
    /// <param name="x">[B, T, H].</param>
    /// <param name="modulation">[B, n·H].</param>
    /// <param name="shiftChunk">c.</param>
    /// <param name="epsilon">Added to the variance.</param>
    /// <param name="inputGradient">∂x [B, T, H]; adds, because the residual's gradient is there already.</param>
    /// <param name="modulationGradient">[B, n·H]; chunks c and c + 1 are overwritten.</param>
    void NormModulateGradient(Tensor outputGradient, Tensor x, Tensor modulation, int shiftChunk, float epsilon, Tensor inputGradient, Tensor modulationGradient);

    /// <summary>softmax(q kᵀ/√d) v per head.</summary>
    /// <param name="qkv">[B, T, 3H]: q, k, v, each heads × head size.</param>
    /// <param name="headCount">Heads.</param>
    /// <param name="y">[B, T, H].</param>
    void AttentionForward(Tensor qkv, int headCount, Tensor y);

    /// <summary>The gradient of <see cref="AttentionForward"/>; the probabilities are computed again.</summary>
    /// <param name="outputGradient">∂y [B, T, H].</param>
    /// <param name="qkv">[B, T, 3H].</param>
    /// <param name="headCount">Heads.</param>
    /// <param name="inputGradient">∂qkv [B, T, 3H].</param>
    void AttentionGradient(Tensor outputGradient, Tensor qkv, int headCount, Tensor inputGradient);

    /// <summary>y = GELU(x), the tanh form.</summary>
    void GeluForward(Tensor x, Tensor y);

    /// <summary>∂x = GELU′(x)·∂y.</summary>
    /// <param name="outputGradient">∂y.</param>
    /// <param name="x">The input of the forward pass.</param>
    /// <param name="inputGradient">∂x; may be ∂y.</param>
    void GeluGradient(Tensor outputGradient, Tensor x, Tensor inputGradient);

    /// <summary>x += gate·y; the gate is a chunk of the sample's modulation.</summary>
    /// <param name="y">[B, T, H].</param>
    /// <param name="modulation">[B, n·H].</param>
    /// <param name="gateChunk">Which chunk.</param>
    /// <param name="x">[B, T, H]; adds.</param>
    void GateForward(Tensor y, Tensor modulation, int gateChunk, Tensor x);

    /// <summary>The gradient of <see cref="GateForward"/> by y and by the gate; that by x is ∂x itself.</summary>
    /// <param name="sumGradient">∂(x + gate·y) [B, T, H].</param>
    /// <param name="y">[B, T, H].</param>
    /// <param name="modulation">[B, n·H].</param>
    /// <param name="gateChunk">Which chunk.</param>
    /// <param name="inputGradient">∂y [B, T, H].</param>
    /// <param name="modulationGradient">[B, n·H]; the gate's chunk is overwritten.</param>
    void GateGradient(Tensor sumGradient, Tensor y, Tensor modulation, int gateChunk, Tensor inputGradient, Tensor modulationGradient);

    /// <summary>The gradient of weight·Σ(x − target)², and the sum itself.</summary>
    /// <param name="x">What is trained to be the target.</param>
    /// <param name="target">The target, of the same size.</param>
    /// <param name="weight">What the squared error is multiplied by.</param>
    /// <param name="gradient">∂x; adds.</param>
    /// <returns>Σ(x − target)², not weighted.</returns>
    double SquaredErrorGradient(Tensor x, Tensor target, float weight, Tensor gradient);

    /// <summary>Copies a tensor's values into another of the same size.</summary>
    void Copy(Tensor source, Tensor destination);

    /// <summary>Fills a tensor with zeros.</summary>
    void Clear(Tensor tensor);
}

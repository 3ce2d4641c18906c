using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Backends;

/// <summary>
/// The operations that a DiT forward pass and the decoders are made of: coarse, already fused. The model and the
/// decoders are written once, over this interface.
/// </summary>
/// <remarks>
/// Letters: B samples (rows of a batch), T tokens per sample, H hidden size, C channels, S latent side, R table rows.
/// Operations check shapes and owners and throw <see cref="ArgumentException"/>; those inside a sampling step allocate nothing.
/// An output row depends on its own input row alone, in a fixed floating-point order: the same bits at any batch
/// size and thread count.
/// </remarks>
public interface IDiTBackend : IDisposable
{
    /// <summary>The backend's name on the command line: "cpu".</summary>
    string Name { get; }

    /// <summary>What runs, for people: threads, vector width, device.</summary>
    string Description { get; }

    /// <summary>Observed between pieces of work; a cancelled token ends the operation with <see cref="OperationCanceledException"/>.</summary>
    CancellationToken Cancellation { get; set; }

    /// <summary>Allocates zeroed storage of exactly this type.</summary>
    /// <param name="type">F32 or I32.</param>
    /// <param name="shape">Extents, slowest first.</param>
    Tensor Allocate(ElementType type, params ReadOnlySpan<int> shape);

    /// <summary>
    /// Allocates what passes from operation to operation, in the backend's working precision (fp32 on a processor, fp16 on a GPU), or the
    /// quantized input of a linear layer: an operation whose output it is quantizes as it stores.
    /// </summary>
    /// <param name="format">The format in which a layer asks for its input; null for plain values, which callers see as F32.</param>
    /// <param name="shape">Extents, slowest first; the last is the layer's K.</param>
    Tensor AllocateActivations(ActivationFormat? format, params ReadOnlySpan<int> shape);

    /// <summary>Copies values into the start of a tensor.</summary>
    void Upload<T>(ReadOnlySpan<T> source, Tensor destination)
        where T : unmanaged;

    /// <summary>Copies the start of a tensor out, as many values as fit the destination.</summary>
    void Download<T>(Tensor source, Span<T> destination)
        where T : unmanaged;

    /// <summary>Brings a linear layer's weight into the layout the kernels want.</summary>
    /// <param name="weight">The layer.</param>
    /// <param name="use">Which operation will read it.</param>
    /// <exception cref="InvalidFileException">A weight is not finite.</exception>
    PreparedLinear Prepare(LinearWeight weight, LinearUse use = LinearUse.Linear);

    /// <summary>Brings a convolution's weight into the layout the kernels want.</summary>
    /// <exception cref="InvalidFileException">A weight is not finite.</exception>
    PreparedConvolution Prepare(ConvolutionWeight weight);

    /// <summary>features[r] = [cos(t_r·w), sin(t_r·w)], the sinusoidal timestep embedding.</summary>
    /// <param name="timesteps">I32 [R].</param>
    /// <param name="frequencies">w: F32 [half].</param>
    /// <param name="features">F32 [R, 2·half].</param>
    void TimestepFeatures(Tensor timesteps, Tensor frequencies, Tensor features);

    /// <summary>condition[r] = SiLU(timestepEmbedding[r] + labelTable[labels[r]]).</summary>
    /// <param name="timestepEmbedding">F32 [R, H].</param>
    /// <param name="labelTable">F32 [classes + 1, H].</param>
    /// <param name="labels">I32 [R].</param>
    /// <param name="condition">F32 [R, H].</param>
    void Condition(Tensor timestepEmbedding, Tensor labelTable, Tensor labels, Tensor condition);

    /// <summary>Cuts latents into p×p patches, projects them and adds the positions.</summary>
    /// <param name="latents">F32 [images, C, S, S].</param>
    /// <param name="imageOfSample">I32 [B]: which latent each sample reads.</param>
    /// <param name="projection">[H, C·p·p].</param>
    /// <param name="positions">F32 [T, H].</param>
    /// <param name="tokens">F32 [B, T, H].</param>
    void PatchEmbed(Tensor latents, Tensor imageOfSample, PreparedLinear projection, Tensor positions, Tensor tokens);

    /// <summary>output = LN(tokens)·(1 + scale) + shift, LN without affine, biased variance.</summary>
    /// <param name="tokens">F32 [B, T, H].</param>
    /// <param name="modulation">Table and the row of each sample.</param>
    /// <param name="shiftChunk">Chunk of the table row that holds the shift; the scale is the next one.</param>
    /// <param name="epsilon">Added to the variance.</param>
    /// <param name="output">F32 or quantized [B, T, H].</param>
    void NormModulate(Tensor tokens, in Modulation modulation, int shiftChunk, float epsilon, Tensor output);

    /// <summary>output = epilogue(input Wᵀ + b).</summary>
    /// <param name="input">F32 [rows, K], or quantized as the layer asks; leading dimensions count as rows.</param>
    /// <param name="layer">The prepared weight [N, K].</param>
    /// <param name="epilogue">What happens to the product before it is stored.</param>
    /// <param name="output">F32 [rows, N], or quantized where nothing is added to it; with a gated epilogue [B, T, N].</param>
    void Linear(Tensor input, PreparedLinear layer, in Epilogue epilogue, Tensor output);

    /// <summary>output = softmax(q kᵀ / √D) v for each head.</summary>
    /// <param name="qkv">F32 [B, T, 3·heads·D], per token q of all heads, then k, then v; stored with <see cref="Epilogue.SplitHeads"/> of as many heads.</param>
    /// <param name="headCount">Number of heads.</param>
    /// <param name="output">F32 or quantized [B, T, heads·D].</param>
    void Attention(Tensor qkv, int headCount, Tensor output);

    /// <summary>Puts patches back into images: per token (p, q, c) to [B, C, S, S].</summary>
    /// <param name="patches">F32 [B, T, p·p·C], tokens row-major over (row, column).</param>
    /// <param name="output">F32 [B, C, S, S].</param>
    void Unpatchify(Tensor patches, Tensor output);

    /// <summary>Lays down the updates of a run of sampling steps, and a step counter that starts at 0.</summary>
    /// <param name="updates">[steps, images].</param>
    /// <param name="imageCount">Images updated in each step.</param>
    UpdateTable Prepare(ReadOnlySpan<SampleUpdate> updates, int imageCount);

    /// <summary>Replaces all updates of a table and puts its counter back to 0, for steps that were not known beforehand. Waits for the work so far, which may read the table.</summary>
    /// <param name="table">The table.</param>
    /// <param name="updates">[steps, images], as many as the table was prepared with. A recorded step (<see cref="PrepareStep"/>) does not look at their indices again.</param>
    void Replace(UpdateTable table, ReadOnlySpan<SampleUpdate> updates);

    /// <summary>Sets the noise of a step, while the step before it may still run.</summary>
    /// <param name="values">[images, C, S, S].</param>
    /// <param name="noise">F32 [2, images, C, S, S]: even steps read the first half, odd ones the second.</param>
    /// <param name="stepIndex">Which step, counted from 0.</param>
    void UploadNoise(ReadOnlySpan<float> values, Tensor noise, int stepIndex);

    /// <summary>Classifier-free guidance and the sampler's update, in place: see <see cref="SampleUpdate"/>. Moves the table on to its next step.</summary>
    /// <param name="prediction">F32 [B, Cout, S, S]: predicted noise, then (when Cout = 2C) the variance fraction.</param>
    /// <param name="updates">An entry per step and image; the current step's are used.</param>
    /// <param name="noise">F32 [2, images, C, S, S], see <see cref="UploadNoise"/>; read where an update's noise factor is not zero. Null when none is.</param>
    /// <param name="latents">F32 [images, C, S, S], updated in place.</param>
    void GuideAndUpdate(Tensor prediction, UpdateTable updates, Tensor? noise, Tensor latents);

    /// <summary>The end of a sampling step: final norm and linear layer, patches back into images, guidance and update, as one operation where the backend can.</summary>
    void FinishStep(in StepEnd work) => FinishStepByParts(this, work);

    /// <summary><see cref="FinishStep"/> as the operations it is made of.</summary>
    static void FinishStepByParts(IDiTBackend backend, in StepEnd work)
    {
        backend.NormModulate(work.Tokens, work.Modulation, 0, work.Epsilon, work.Normed);
        backend.Linear(work.Normed, work.Layer, Epilogue.None, work.Patches);
        backend.Unpatchify(work.Patches, work.Prediction);
        backend.GuideAndUpdate(work.Prediction, work.Updates, work.Noise, work.Latents);
    }

    /// <summary>Whether <see cref="PrepareStep"/> records, so that a few batch shapes used again and again cost less than exact ones.</summary>
    bool RecordsSteps => false;

    /// <summary>Makes the same operations repeatable at little cost: a GPU records them once and replays them.</summary>
    /// <param name="body">Operations on tensors that stay where they are; called by some of the runs.</param>
    RepeatedStep PrepareStep(Action body) => new DirectStep(body);

    /// <summary>output = activation(conv(upsample(input)) + b + residual), channels last, stride 1, zero padding k/2.</summary>
    /// <param name="input">F32 [B, Y, X, Cin].</param>
    /// <param name="layer">Prepared weight, square odd kernel.</param>
    /// <param name="options">Activation, residual, and whether the input is read upsampled (nearest, ×2).</param>
    /// <param name="output">F32 [B, Y', X', Cout]; never the input. The residual may be the output.</param>
    void Convolution(Tensor input, PreparedConvolution layer, in ConvolutionOptions options, Tensor output);

    /// <summary>output = activation(GN(input)·gamma + beta), channels last, biased variance per sample and group.</summary>
    /// <param name="input">F32 [B, Y, X, C].</param>
    /// <param name="gamma">F32 [C].</param>
    /// <param name="beta">F32 [C].</param>
    /// <param name="options">Groups, epsilon, activation.</param>
    /// <param name="output">F32 [B, Y, X, C]; may be the input.</param>
    void GroupNorm(Tensor input, Tensor gamma, Tensor beta, in GroupNormOptions options, Tensor output);
}

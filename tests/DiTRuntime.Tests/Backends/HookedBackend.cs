using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Backends;

/// <summary>Another backend, with a hook before each operation of a pass that may throw in its place.</summary>
internal sealed class HookedBackend(IDiTBackend inner) : IDiTBackend
{
    /// <summary>Called with the operation's name.</summary>
    public Action<string>? Before { get; set; }

    /// <summary>Latents that the samples of the pass read.</summary>
    public int[] Slots { get; private set; } = [];

    public string Name => inner.Name;

    public string Description => inner.Description;

    public bool RecordsSteps => inner.RecordsSteps;

    public CancellationToken Cancellation
    {
        get => inner.Cancellation;
        set => inner.Cancellation = value;
    }

    public Tensor Allocate(ElementType type, params ReadOnlySpan<int> shape) => inner.Allocate(type, shape);

    public Tensor AllocateActivations(ActivationFormat? format, params ReadOnlySpan<int> shape) => inner.AllocateActivations(format, shape);

    public void Upload<T>(ReadOnlySpan<T> source, Tensor destination)
        where T : unmanaged => inner.Upload(source, destination);

    public void Download<T>(Tensor source, Span<T> destination)
        where T : unmanaged => inner.Download(source, destination);

    public PreparedLinear Prepare(LinearWeight weight, LinearUse use = LinearUse.Linear) => inner.Prepare(weight, use);

    public PreparedConvolution Prepare(ConvolutionWeight weight) => inner.Prepare(weight);

    public UpdateTable Prepare(ReadOnlySpan<SampleUpdate> updates, int imageCount) => inner.Prepare(updates, imageCount);

    public void Replace(UpdateTable table, ReadOnlySpan<SampleUpdate> updates)
    {
        Before?.Invoke(nameof(Replace));
        inner.Replace(table, updates);
    }

    public void TimestepFeatures(Tensor timesteps, Tensor frequencies, Tensor features)
    {
        Before?.Invoke(nameof(TimestepFeatures));
        inner.TimestepFeatures(timesteps, frequencies, features);
    }

    public void Condition(Tensor timestepEmbedding, Tensor labelTable, Tensor labels, Tensor condition)
    {
        Before?.Invoke(nameof(Condition));
        inner.Condition(timestepEmbedding, labelTable, labels, condition);
    }

    public void PatchEmbed(Tensor latents, Tensor imageOfSample, PreparedLinear projection, Tensor positions, Tensor tokens)
    {
        Slots = new int[imageOfSample.Count];
        inner.Download<int>(imageOfSample, Slots);
        Before?.Invoke(nameof(PatchEmbed));
        inner.PatchEmbed(latents, imageOfSample, projection, positions, tokens);
    }

    public void NormModulate(Tensor tokens, in Modulation modulation, int shiftChunk, float epsilon, Tensor output)
    {
        Before?.Invoke(nameof(NormModulate));
        inner.NormModulate(tokens, modulation, shiftChunk, epsilon, output);
    }

    public void Linear(Tensor input, PreparedLinear layer, in Epilogue epilogue, Tensor output)
    {
        Before?.Invoke(nameof(Linear));
        inner.Linear(input, layer, epilogue, output);
    }

    public void Attention(Tensor qkv, int headCount, Tensor output)
    {
        Before?.Invoke(nameof(Attention));
        inner.Attention(qkv, headCount, output);
    }

    public void Unpatchify(Tensor patches, Tensor output)
    {
        Before?.Invoke(nameof(Unpatchify));
        inner.Unpatchify(patches, output);
    }

    public void UploadNoise(ReadOnlySpan<float> values, Tensor noise, int stepIndex)
    {
        Before?.Invoke(nameof(UploadNoise));
        inner.UploadNoise(values, noise, stepIndex);
    }

    public void GuideAndUpdate(Tensor prediction, UpdateTable updates, Tensor? noise, Tensor latents)
    {
        Before?.Invoke(nameof(GuideAndUpdate));
        inner.GuideAndUpdate(prediction, updates, noise, latents);
    }

    public void FinishStep(in StepEnd work)
    {
        Before?.Invoke(nameof(FinishStep));
        inner.FinishStep(work);
    }

    public RepeatedStep PrepareStep(Action body) => inner.PrepareStep(body);

    public void Convolution(Tensor input, PreparedConvolution layer, in ConvolutionOptions options, Tensor output) => inner.Convolution(input, layer, options, output);

    public void GroupNorm(Tensor input, Tensor gamma, Tensor beta, in GroupNormOptions options, Tensor output) => inner.GroupNorm(input, gamma, beta, options, output);

    public void Dispose() => inner.Dispose();
}

using System.Globalization;
using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;
using DiTRuntime.Sampling;

namespace DiTRuntime.Cuda.Benchmarks;

/// <summary>The kernels beside the products.</summary>
internal sealed partial class KernelTimes
{
    private IEnumerable<Func<KernelTime>> Others(int rows)
    {
        var config = settings.Config;
        var group = new ActivationFormat(settings.Groups[0]);
        ActivationFormat?[] formats = [null, group];
        foreach (var format in formats)
            if (settings.Takes($"norm+modulate {Name(format)} {rows}")) yield return () => Norm(rows, format);
        foreach (var width in (int[])[config.HiddenSize, config.MlpSize])
            if (settings.Takes($"quantize rows {Name(group)} {rows}")) yield return () => Quantize(rows, width, group);
        // Groups of two heads lie whole in a block of the attention kernel; others take a second kernel.
        foreach (var format in formats.Append(new ActivationFormat(2 * config.HeadSize)))
            foreach (var tokens in (int[])[config.TokenCount, 4 * config.TokenCount])
                if (rows % tokens == 0 && settings.Takes($"attention {Name(format)} {rows}")) yield return () => Attention(rows, tokens, format);
        if (rows % (2 * config.TokenCount) != 0) yield break;
        if (settings.Takes($"patch embedding f16 {rows}")) yield return () => PatchEmbed(rows);
        if (settings.Takes($"final layer+update f16 {rows}")) yield return () => FinishStep(rows);
    }

    private KernelTime Norm(int rows, ActivationFormat? format)
    {
        using var owned = new ResourceList();
        var (hidden, (samples, tokens)) = (settings.Config.HiddenSize, Samples(rows));
        var modulation = Modulation(owned, samples);
        var bytes = ActivationBytes(rows, hidden, null) + ActivationBytes(rows, hidden, format);
        var launches = Rotate(bytes, out var copies, _ =>
        {
            var (input, output) = (Input(owned, null, samples, tokens, hidden), owned.Add(backend.AllocateActivations(format, samples, tokens, hidden)));
            return () => backend.NormModulate(input, modulation, 0, 1e-6f, output);
        });
        var name = format is null ? "norm+modulate" : "norm+modulate+quantize";
        return new KernelTime(name, Name(format), Width(hidden), rows, _timer.Launches(launches, settings.Rounds), 0, bytes, copies, null);
    }

    private KernelTime Quantize(int rows, int width, ActivationFormat format)
    {
        using var owned = new ResourceList();
        var kernel = new QuantizeRowsKernel(backend.Library);
        var bytes = ActivationBytes(rows, width, null) + ActivationBytes(rows, width, format);
        var launches = Rotate(bytes, out var copies, _ =>
        {
            var input = Halves(owned, (long)rows * width);
            var output = ((CudaTensor)owned.Add(backend.AllocateActivations(format, rows, width))).Quantized;
            return () => kernel.Launch(backend.Stream, input, rows, width, output, format);
        });
        return new KernelTime("quantize rows", Name(format), Width(width), rows, _timer.Launches(launches, settings.Rounds), 0, bytes, copies, null);
    }

    private KernelTime Attention(int rows, int tokens, ActivationFormat? format)
    {
        using var owned = new ResourceList();
        var config = settings.Config;
        var (samples, hidden) = (rows / tokens, config.HiddenSize);
        var bytes = ActivationBytes(rows, 3 * hidden, null) + ActivationBytes(rows, hidden, format);
        var launches = Rotate(bytes, out var copies, _ =>
        {
            var (qkv, output) = (Input(owned, null, samples, tokens, 3 * hidden), owned.Add(backend.AllocateActivations(format, samples, tokens, hidden)));
            return () => backend.Attention(qkv, config.HeadCount, output);
        });
        var isFused = format is null || AttentionKernel.CanQuantize(config.HeadCount, config.HeadSize, format, device.Properties.SharedMemoryPerBlock);
        var shape = string.Create(CultureInfo.InvariantCulture, $"{config.HeadCount} heads of {config.HeadSize}, {tokens} tokens");
        return new KernelTime(
            isFused ? "attention" : "attention, quantize rows", Name(format), shape, rows, _timer.Launches(launches, settings.Rounds), 4.0 * rows * tokens * hidden, bytes, copies, null);
    }

    private KernelTime PatchEmbed(int rows)
    {
        using var owned = new ResourceList();
        var config = settings.Config;
        var (samples, values) = (rows / config.TokenCount, config.InChannels * config.PatchSize * config.PatchSize);
        var projection = owned.Add(backend.Prepare(_layers.Make("x_embedder.proj", config.HiddenSize, values, LayerFormat.Dense), LinearUse.PatchEmbed));
        var positions = Floats(owned, config.TokenCount, config.HiddenSize);
        var images = owned.Add(backend.Allocate(ElementType.I32, samples));
        backend.Upload<int>([.. Enumerable.Range(0, samples).Select(i => i / 2)], images);
        var bytes = 4L * (samples / 2 * config.LatentCount + positions.Count) + ActivationBytes(rows, config.HiddenSize, null);
        var launches = Rotate(bytes, out var copies, _ =>
        {
            var latents = Floats(owned, samples / 2, config.InChannels, config.InputSize, config.InputSize);
            var tokens = owned.Add(backend.AllocateActivations(null, samples, config.TokenCount, config.HiddenSize));
            return () => backend.PatchEmbed(latents, images, projection, positions, tokens);
        });
        return new KernelTime("patch embedding", "f16", Width(config.HiddenSize), rows, _timer.Launches(launches, settings.Rounds), 0, bytes, copies, null);
    }

    private KernelTime FinishStep(int rows)
    {
        using var owned = new ResourceList();
        var config = settings.Config;
        var (samples, side, values) = (rows / config.TokenCount, config.InputSize, config.PatchSize * config.PatchSize * config.OutChannels);
        var layer = owned.Add(backend.Prepare(_layers.Make("final_layer.linear", values, config.HiddenSize, LayerFormat.Dense), LinearUse.FinishStep));
        var modulation = Modulation(owned, samples);
        var rowOfSample = owned.Add(backend.Allocate(ElementType.I32, StepsOfRotation, samples));
        var normed = owned.Add(backend.AllocateActivations(null, samples, config.TokenCount, config.HiddenSize));
        var (patches, prediction) = (Floats(owned, samples, config.TokenCount, values), Floats(owned, samples, config.OutChannels, side, side));
        var updates = new SampleUpdate[samples / 2 * StepsOfRotation];
        // Latents that shrink stay finite however often they are updated.
        for (var i = 0; i < updates.Length; i++)
        {
            var image = i % (samples / 2);
            updates[i] = new SampleUpdate(image, 2 * image, 2 * image + 1, 4, 3, new UpdateCoefficients(0.9f, -0.1f));
        }

        var bytes = ActivationBytes(rows, config.HiddenSize, null) + 8L * (samples / 2) * config.LatentCount;
        var launches = Rotate(bytes, out var copies, _ =>
        {
            var (tokens, latents) = (Input(owned, null, samples, config.TokenCount, config.HiddenSize), Floats(owned, samples / 2, config.InChannels, side, side));
            var table = owned.Add(backend.Prepare(updates, samples / 2));
            var ownModulation = modulation with { RowOfSample = rowOfSample, Step = table.Step };
            return () => backend.FinishStep(new StepEnd(tokens, ownModulation, 1e-6f, layer, normed, patches, prediction, table, null, latents));
        });
        return new KernelTime("final layer+update", "f16", Width(config.HiddenSize), rows, _timer.Launches(launches, settings.Rounds), 0, bytes, copies, null);
    }

    /// <summary>Steps that a set of buffers may take: every launch moves its table on.</summary>
    private int StepsOfRotation => MinLaunches * (settings.Rounds + 8);

    private Tensor Floats(ResourceList owned, params ReadOnlySpan<int> shape)
    {
        var tensor = owned.Add(backend.Allocate(ElementType.F32, shape));
        backend.Upload<float>(SyntheticLayers.Values(tensor.Count, 5), tensor);
        return tensor;
    }

    private static string Name(ActivationFormat? format) => format is null ? "f16" : string.Create(CultureInfo.InvariantCulture, $"a8 g{format.GroupSize}");

    private static string Width(int width) => width.ToString(CultureInfo.InvariantCulture);
}

using DiTRuntime.Checkpoints;
using DiTRuntime.Models;
using DiTRuntime.Models.Scheduling;
using DiTRuntime.Sampling;
using DiTRuntime.Serving.Http;

namespace DiTRuntime.Serving.KServe;

/// <summary>An infer request in the words of the engine.</summary>
/// <param name="Request">What the scheduler is asked for.</param>
/// <param name="Id">Given back in the answer; null where there was none.</param>
/// <param name="Outputs">Tensors of the answer, in order, and whether in binary.</param>
internal sealed record InferJob(GenerationRequest Request, string? Id, IReadOnlyList<(string Name, bool Binary)> Outputs)
{
    /// <summary>Pixels, UINT8 [N, H, W, channels].</summary>
    public const string Images = "images";

    /// <summary>Finished latents, FP32 [N, C, S, S]; as an input, those to start from.</summary>
    public const string Latents = "latents";

    /// <summary>PNG files, BYTES [N].</summary>
    public const string Png = "png";

    /// <summary>Classes, INT32 [N].</summary>
    public const string ClassLabels = "class_labels";

    /// <summary>Seeds, INT64 [N], or the first of them, [1].</summary>
    public const string Seed = "seed";

    /// <summary>Guidance, FP32 [1].</summary>
    public const string CfgScale = "cfg_scale";

    /// <summary>Steps, INT32 [1].</summary>
    public const string Steps = "steps";

    /// <summary>Sampler, BYTES [1].</summary>
    public const string Sampler = "sampler";

    /// <summary>Understands a request.</summary>
    /// <param name="request">The request.</param>
    /// <param name="config">The model's architecture.</param>
    /// <param name="mostImages">Images that one request may ask for.</param>
    /// <param name="drawSeed">Gives a seed where none was sent.</param>
    /// <exception cref="ApiException">A tensor is missing, unknown, of another shape or datatype, or out of range.</exception>
    public static InferJob Create(InferRequest request, DiTConfig config, int mostImages, Func<ulong> drawSeed)
    {
        var inputs = request.Inputs.ToDictionary(i => i.Name);
        var labels = Take(inputs, ClassLabels)?.ToInt32Vector() ?? throw TensorError.In(ClassLabels, "no such input was sent");
        CheckLabels(labels, config, mostImages);
        var (seed, seeds) = ReadSeeds(Take(inputs, Seed), labels.Length, drawSeed);
        var job = new GenerationRequest
        {
            Labels = labels,
            Seed = seed,
            Seeds = seeds,
            Sampler = ReadSampler(Take(inputs, Sampler), Take(inputs, Steps)),
            InitialLatents = Take(inputs, Latents)?.ToSingles([labels.Length, config.InChannels, config.InputSize, config.InputSize]),
        };
        if (Take(inputs, CfgScale)?.ToSingle() is { } scale)
        {
            if (!(scale is >= 0 and <= (float)ImageOrders.MaxScale)) throw TensorError.In(CfgScale, $"{scale}, expected 0 to {ImageOrders.MaxScale}");
            job = job with { GuidanceScale = scale };
        }

        if (inputs.Count > 0)
            throw TensorError.In(inputs.Keys.First(), $"no such input, expected {ClassLabels}, {Seed}, {CfgScale}, {Steps}, {Sampler} or {Latents}");
        var outputs = ReadOutputs(request);
        return new InferJob(job with { Decodes = outputs.Exists(o => o.Name != Latents) }, request.Id, outputs);
    }

    private static InferTensor? Take(Dictionary<string, InferTensor> inputs, string name) => inputs.Remove(name, out var tensor) ? tensor : null;

    private static void CheckLabels(int[] labels, DiTConfig config, int mostImages)
    {
        if (labels.Length > mostImages)
            throw TensorError.Impossible(ClassLabels, $"{labels.Length} images, expected 1 to {mostImages}");
        foreach (var label in labels)
            if (label < 0 || label >= config.ClassCount)
                throw TensorError.Impossible(ClassLabels, $"class {label}, expected 0 to {config.ClassCount - 1}");
    }

    private static (ulong Seed, ulong[]? Seeds) ReadSeeds(InferTensor? tensor, int imageCount, Func<ulong> drawSeed)
    {
        if (tensor is null) return (drawSeed(), null);
        var values = tensor.ToInt64Vector();
        if (values is [-1]) return (drawSeed(), null);
        if (values.Length != 1 && values.Length != imageCount)
            throw TensorError.In(Seed, $"{values.Length} seeds, expected 1 or one for each of the {imageCount} images");
        foreach (var value in values)
            if (value < 0) throw TensorError.In(Seed, $"{value}, expected 0 to {long.MaxValue}");
        return values.Length == 1 ? ((ulong)values[0], null) : ((ulong)values[0], Array.ConvertAll(values, v => (ulong)v));
    }

    private static SamplerOptions ReadSampler(InferTensor? sampler, InferTensor? steps)
    {
        var options = new SamplerOptions();
        if (sampler?.ToText() is { } name)
            options = ImageOrders.Samplers.Contains(name)
                ? options with { Sampler = name }
                : throw TensorError.In(Sampler, $"{TensorRules.Printable(name, 32)}, expected {string.Join(" or ", ImageOrders.Samplers)}");
        if (steps?.ToInt32() is { } count)
            options = count is >= 1 and <= NoiseSchedule.TrainingSteps
                ? options with { Steps = count }
                : throw TensorError.In(Steps, $"{count}, expected 1 to {NoiseSchedule.TrainingSteps}");
        return options;
    }

    private static List<(string Name, bool Binary)> ReadOutputs(InferRequest request)
    {
        var outputs = new List<(string, bool)>();
        foreach (var output in request.Outputs)
        {
            if (output.Name is not (Images or Latents or Png)) throw TensorError.In(output.Name, $"no such output, expected {Images}, {Latents} or {Png}");
            outputs.Add((output.Name, output.Binary ?? request.BinaryOutput));
        }

        return outputs.Count > 0 ? outputs : [(Images, request.BinaryOutput)];
    }
}

using System.Globalization;
using System.Numerics.Tensors;
using DiTRuntime.Backends;
using DiTRuntime.Models;
using DiTRuntime.Quantization;
using DiTRuntime.Sampling;

namespace DiTRuntime.Cuda.Benchmarks;

/// <summary>Every kernel of the engine against the CPU backend, which computes in fp32 from the same values.</summary>
internal static class KernelChecks
{
    private const string Rounding = "activations are halves, rounded to 2^-11 at each operation; sums are fp32 on both sides";
    private const string Ties = "a value near the middle of two codes may round to the other one, 1/255 of its group's range";

    /// <summary>The checks, in the order of a forward pass.</summary>
    public static IReadOnlyList<KernelCheck> All(BenchSettings settings)
    {
        var shapes = CheckShapes.Of(settings);
        var config = shapes.Config;
        var rows = string.Create(CultureInfo.InvariantCulture, $"{shapes.Samples}x{shapes.Tokens} rows of {config.HiddenSize}");
        var group = settings.Groups[0];
        LayerFormat[] formats =
        [
            LayerFormat.Dense, new(new GroupFormat(8, group), ActivationMode.Dynamic), new(new GroupFormat(4, group), ActivationMode.Dynamic),
            new(new GroupFormat(8, group)), new(new GroupFormat(4, group)), .. settings.Codebooks,
        ];
        List<KernelCheck> checks =
        [
            new("condition", "f16", $"{rows}", 1e-3, Rounding, Condition),
            new("patch embedding", "f16", rows, 1e-3, Rounding, PatchEmbed),
            new("timestep embedding", "f16", $"{shapes.Samples} rows", 2e-3, Rounding, Timestep),
            new("norm and modulate", "f16", rows, 1e-3, Rounding, NormModulate),
        ];
        foreach (var format in formats)
        {
            var quantizes = format.Activations != ActivationMode.Float;
            var reason = quantizes ? $"{Rounding}; {Ties}" : Rounding;
            var name = format.Weights is null ? "f16" : format.ToString();
            checks.Add(new("product", name, rows, quantizes ? 4e-3 : 1e-3, reason, scene => Product(scene, format)));
            checks.Add(new("attention half of a block", name, rows, quantizes ? 5e-3 : 2e-3, reason, scene => AttentionHalf(scene, format)));
            checks.Add(new("MLP half of a block", name, rows, quantizes ? 5e-3 : 2e-3, reason, scene => MlpHalf(scene, format)));
        }

        // Groups of whole heads are quantized by the attention kernel itself; groups that no tile holds by a kernel of their own.
        var (wholeHeads, perRow) = (new LayerFormat(new GroupFormat(8, 2 * config.HeadSize), ActivationMode.Dynamic), new LayerFormat(new GroupFormat(8, 0), ActivationMode.Dynamic));
        checks.Add(new("attention half of a block", wholeHeads.ToString(), rows, 5e-3, $"{Rounding}; {Ties}", scene => AttentionHalf(scene, wholeHeads)));
        checks.Add(new("MLP half of a block", perRow.ToString(), rows, 1e-2, $"{Rounding}; {Ties}, here of a whole row's", scene => MlpHalf(scene, perRow)));
        var head = string.Create(CultureInfo.InvariantCulture, $"{config.HeadCount} heads of {config.HeadSize}");
        checks.AddRange(
        [
            new("attention", "f16", $"{head}, {shapes.Tokens} tokens", 3e-3, Rounding, scene => Attention(scene, scene.Shapes.Tokens, config.HeadCount, config.HeadSize)),
            new("attention", "f16", $"{head}, {shapes.LongSide * shapes.LongSide} tokens", 3e-3, Rounding, scene => Attention(scene, shapes.LongSide * shapes.LongSide, config.HeadCount, config.HeadSize)),
            new("attention, wide head", "f16", $"1 head of {shapes.WideHead}, {shapes.Tokens} tokens", 3e-3, Rounding, scene => Attention(scene, shapes.Tokens, 1, shapes.WideHead)),
            new("residual product", "f16", rows, 1e-3, Rounding, Residual),
            new("final layer, guidance and update", "f16", rows, 2e-3, Rounding, FinishStep),
            new("guidance and update", "f32", $"{shapes.Samples} predictions", 1e-5, "fp32 on both sides", GuideAndUpdate),
            new("convolution, upsampling", "f16", $"{shapes.Channels} channels", 2e-3, Rounding, Convolution),
            new("group norm", "f16", $"{shapes.Channels} channels", 1e-3, Rounding, GroupNorm),
        ]);
        // Guidance and three steps multiply the errors of a pass.
        var tiny = BenchSettings.Quick.Config;
        foreach (var format in formats)
        {
            var quantizes = format.Activations != ActivationMode.Float;
            checks.Add(new(
                "tiny model, three DDPM steps", format.Weights is null ? "f16" : format.ToString(), "2 images of 16 tokens of 144", quantizes ? 1e-2 : 5e-3,
                "the errors of every operation above, through two blocks, guidance and three steps", scene => Steps(scene, tiny, format)));
        }

        return [.. checks.Where(check => settings.Takes(check.ToString()))];
    }

    /// <summary>Carries a check out on both sides.</summary>
    /// <param name="check">The check.</param>
    /// <param name="settings">Shapes.</param>
    /// <param name="device">The backend that is checked.</param>
    /// <param name="reference">The backend that is right.</param>
    public static CheckResult Run(KernelCheck check, BenchSettings settings, IDiTBackend device, IDiTBackend reference)
    {
        var (expected, rowLength) = Values(check, settings, reference);
        var (actual, _) = Values(check, settings, device);
        return new CheckResult(check.Operation, check.Format, check.Shape, LargestError(actual, expected, rowLength), check.Tolerance * settings.ToleranceScale, check.Reason);
    }

    /// <summary>Carries a check out on one side.</summary>
    public static (float[] Values, int RowLength) Values(KernelCheck check, BenchSettings settings, IDiTBackend backend)
    {
        using var scene = new CheckScene(backend, CheckShapes.Of(settings), new SyntheticLayers());
        return check.Work(scene);
    }

    /// <summary>The largest ‖actual − expected‖/‖expected‖ of a row: a single wrong value of a row of a thousand is 3 % of it.</summary>
    public static double LargestError(float[] actual, float[] expected, int rowLength)
    {
        var largest = 0.0;
        for (var start = 0; start < expected.Length; start += rowLength)
        {
            ReadOnlySpan<float> row = expected.AsSpan(start, rowLength);
            var error = (double)TensorPrimitives.Distance(actual.AsSpan(start, rowLength), row) / Math.Max(TensorPrimitives.Norm(row), float.Epsilon);
            if (!double.IsFinite(error)) return double.PositiveInfinity;
            largest = Math.Max(largest, error);
        }

        return largest;
    }

    private static (float[] Values, int RowLength) Condition(CheckScene s)
    {
        int rows = s.Shapes.Samples, hidden = s.Shapes.Config.HiddenSize;
        var output = s.Output(null, rows, hidden);
        s.Backend.Condition(s.Activations(1, rows, hidden), s.Floats(2, 0.5f, rows + 1, hidden), s.Integers([.. Enumerable.Range(1, rows)]), output);
        return (s.Read(output), hidden);
    }

    private static (float[] Values, int RowLength) PatchEmbed(CheckScene s)
    {
        var config = s.Shapes.Config;
        var (tokens, side) = (s.Output(null, s.Shapes.Samples, s.Shapes.Tokens, config.HiddenSize), s.Shapes.Side * config.PatchSize);
        var projection = s.Layer(config.HiddenSize, config.InChannels * config.PatchSize * config.PatchSize, LayerFormat.Dense, LinearUse.PatchEmbed);
        s.Backend.PatchEmbed(
            s.Floats(1, 1, 1, config.InChannels, side, side), s.Integers(new int[s.Shapes.Samples]), projection, s.Floats(2, 0.5f, s.Shapes.Tokens, config.HiddenSize), tokens);
        return (s.Read(tokens), config.HiddenSize);
    }

    private static (float[] Values, int RowLength) Timestep(CheckScene s)
    {
        int rows = s.Shapes.Samples, hidden = s.Shapes.Config.HiddenSize, features = s.Shapes.Config.FrequencySize;
        var between = s.Output(null, rows, hidden);
        var output = s.Floats(2, 1, rows, hidden);
        s.Backend.Linear(s.Activations(1, rows, features), s.Layer(hidden, features, LayerFormat.Dense), Epilogue.Activate(Activation.Silu), between);
        s.Backend.Linear(between, s.Layer(hidden, hidden, LayerFormat.Dense), Epilogue.None, output);
        return (s.Read(output), hidden);
    }

    private static (float[] Values, int RowLength) NormModulate(CheckScene s)
    {
        var hidden = s.Shapes.Config.HiddenSize;
        var output = s.Output(null, s.Shapes.Samples, s.Shapes.Tokens, hidden);
        s.Backend.NormModulate(s.Activations(1, output.Shape), s.Modulation(6), 3, 1e-6f, output);
        return (s.Read(output), hidden);
    }

    private static (float[] Values, int RowLength) Product(CheckScene s, LayerFormat format)
    {
        var hidden = s.Shapes.Config.HiddenSize;
        var layer = s.Layer(3 * hidden, hidden, format);
        var output = s.Output(null, s.Shapes.Samples, s.Shapes.Tokens, 3 * hidden);
        s.Backend.Linear(s.Normed(layer), layer, Epilogue.None, output);
        return (s.Read(output), 3 * hidden);
    }

    private static (float[] Values, int RowLength) AttentionHalf(CheckScene s, LayerFormat format)
    {
        var config = s.Shapes.Config;
        var (qkv, projection) = (s.Layer(3 * config.HiddenSize, config.HiddenSize, format), s.Layer(config.HiddenSize, config.HiddenSize, format));
        var split = s.Output(null, s.Shapes.Samples, s.Shapes.Tokens, 3 * config.HiddenSize);
        var attended = s.Output(projection.Activations, s.Shapes.Samples, s.Shapes.Tokens, config.HiddenSize);
        var tokens = s.Activations(5, attended.Shape);
        s.Backend.Linear(s.Normed(qkv), qkv, Epilogue.SplitHeads(config.HeadCount), split);
        s.Backend.Attention(split, config.HeadCount, attended);
        s.Backend.Linear(attended, projection, Epilogue.GatedResidual(s.Modulation(6), 2), tokens);
        return (s.Read(tokens), config.HiddenSize);
    }

    private static (float[] Values, int RowLength) MlpHalf(CheckScene s, LayerFormat format)
    {
        var config = s.Shapes.Config;
        var (fc1, fc2) = (s.Layer(config.MlpSize, config.HiddenSize, format), s.Layer(config.HiddenSize, config.MlpSize, format));
        var between = s.Output(fc2.Activations, s.Shapes.Samples, s.Shapes.Tokens, config.MlpSize);
        var tokens = s.Activations(5, s.Shapes.Samples, s.Shapes.Tokens, config.HiddenSize);
        s.Backend.Linear(s.Normed(fc1), fc1, Epilogue.Activate(Activation.GeluTanh), between);
        s.Backend.Linear(between, fc2, Epilogue.GatedResidual(s.Modulation(6), 5), tokens);
        return (s.Read(tokens), config.HiddenSize);
    }

    private static (float[] Values, int RowLength) Attention(CheckScene s, int tokens, int heads, int headSize)
    {
        var width = heads * headSize;
        var qkv = s.Output(null, s.Shapes.Samples, tokens, 3 * width);
        var output = s.Output(null, s.Shapes.Samples, tokens, width);
        s.Backend.Linear(s.Activations(1, s.Shapes.Samples, tokens, width), s.Layer(3 * width, width, LayerFormat.Dense), Epilogue.SplitHeads(heads), qkv);
        s.Backend.Attention(qkv, heads, output);
        return (s.Read(output), width);
    }

    private static (float[] Values, int RowLength) Residual(CheckScene s)
    {
        var hidden = s.Shapes.Config.HiddenSize;
        var tokens = s.Activations(5, s.Shapes.Samples, s.Shapes.Tokens, hidden);
        s.Backend.Linear(s.Activations(1, tokens.Shape), s.Layer(hidden, hidden, LayerFormat.Dense), Epilogue.Residual, tokens);
        return (s.Read(tokens), hidden);
    }

    private static (float[] Values, int RowLength) FinishStep(CheckScene s)
    {
        var config = s.Shapes.Config;
        var (side, patchValues) = (s.Shapes.Side * config.PatchSize, config.PatchSize * config.PatchSize * config.OutChannels);
        var layer = s.Layer(patchValues, config.HiddenSize, LayerFormat.Dense, LinearUse.FinishStep);
        var latents = s.Floats(6, 1, 1, config.InChannels, side, side);
        s.Backend.FinishStep(new StepEnd(
            s.Activations(1, s.Shapes.Samples, s.Shapes.Tokens, config.HiddenSize), s.Modulation(2), 1e-6f, layer, s.Output(null, s.Shapes.Samples, s.Shapes.Tokens, config.HiddenSize),
            s.Floats(2, 0, s.Shapes.Samples, s.Shapes.Tokens, patchValues), s.Floats(3, 0, s.Shapes.Samples, config.OutChannels, side, side), Update(s), s.Floats(7, 1, 2, 1, config.InChannels, side, side), latents));
        return (s.Read(latents), side * side);
    }

    private static (float[] Values, int RowLength) GuideAndUpdate(CheckScene s)
    {
        var config = s.Shapes.Config;
        var side = s.Shapes.Side * config.PatchSize;
        var latents = s.Floats(6, 1, 1, config.InChannels, side, side);
        s.Backend.GuideAndUpdate(s.Floats(8, 1, s.Shapes.Samples, config.OutChannels, side, side), Update(s), s.Floats(7, 1, 2, 1, config.InChannels, side, side), latents);
        return (s.Read(latents), side * side);
    }

    /// <summary>One image, guided on three channels, with noise of a learned variance.</summary>
    private static UpdateTable Update(CheckScene s) => s.Add(s.Backend.Prepare([new SampleUpdate(0, 0, 1, 4, 3, new UpdateCoefficients(0.9f, -0.3f, 0, true, -3, -2))], 1));

    private static (float[] Values, int RowLength) Convolution(CheckScene s)
    {
        int side = s.Shapes.Side, channels = s.Shapes.Channels;
        var output = s.Output(null, 1, 2 * side, 2 * side, channels);
        var options = new ConvolutionOptions(Activation.Silu, s.Activations(2, output.Shape), UpsamplesInput: true);
        s.Backend.Convolution(s.Activations(1, 1, side, side, channels), s.Convolution(channels, channels, 3), options, output);
        return (s.Read(output), channels);
    }

    private static (float[] Values, int RowLength) GroupNorm(CheckScene s)
    {
        int side = s.Shapes.Side, channels = s.Shapes.Channels;
        var output = s.Output(null, s.Shapes.Samples, side, side, channels);
        s.Backend.GroupNorm(s.Activations(1, output.Shape), s.Floats(2, 1, channels), s.Floats(3, 1, channels), new GroupNormOptions(8, 1e-6f, Activation.Silu), output);
        return (s.Read(output), channels);
    }

    private static (float[] Values, int RowLength) Steps(CheckScene s, DiTConfig config, LayerFormat format)
    {
        using var model = new DiTModel(s.Layers.Model(config, format), s.Backend, Compatibility.Official);
        var plan = SamplingPlan.Create("ddpm", TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), 3), 0, config.LearnsVariance);
        using var batch = new SamplingBatch(model, new SamplingSettings(plan, new ImageNoise(0), 2, 3), [0, 1], [1, 4]);
        while (!batch.IsFinished) batch.Step();
        var latents = new float[2 * config.LatentCount];
        batch.Read(latents);
        return (latents, config.LatentCount);
    }
}

/// <summary>One comparison.</summary>
/// <param name="Operation">What runs.</param>
/// <param name="Format">Of its weights.</param>
/// <param name="Shape">In words.</param>
/// <param name="Tolerance">The most that a row may differ, relative to its length.</param>
/// <param name="Reason">Why that much.</param>
/// <param name="Work">Computes the values, in rows.</param>
internal sealed record KernelCheck(string Operation, string Format, string Shape, double Tolerance, string Reason, Func<CheckScene, (float[] Values, int RowLength)> Work)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Operation} {Format} {Shape}";
}

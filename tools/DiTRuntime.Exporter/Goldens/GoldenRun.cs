using DiTRuntime.Backends;
using DiTRuntime.Decoding;
using DiTRuntime.Imaging;
using DiTRuntime.Models;
using DiTRuntime.Quantization;
using DiTRuntime.Sampling;

namespace DiTRuntime.Exporter.Goldens;

/// <summary>Runs the model on the C# backend: one pass of two samples, looked at block by block, and two images.</summary>
/// <param name="source">The model.</param>
/// <param name="settings">How it is exported.</param>
/// <param name="tileSide">Positions that the exported decoder takes at once.</param>
internal sealed class GoldenRun(ExportSource source, ExportSettings settings, int tileSide)
{
    /// <summary>Steps of the golden images, at most: enough to go through every part of a run, few enough for a small device.</summary>
    public const int MostSteps = 10;

    /// <summary>Images, and samples of the pass.</summary>
    private const int Count = 2;

    /// <summary>Bytes of the stages, at most; of longer sequences fewer tokens are kept.</summary>
    private const long StageBytes = 6L << 20;

    /// <summary>Dense weights beyond which blocks are prepared one at a time.</summary>
    private const long ResidentBytes = 512L << 20;

    /// <summary>Timesteps of the pass: half noise, hardly any.</summary>
    private static readonly int[] s_timesteps = [500, 20];

    /// <summary>Classes of the images: a goldfish and a golden retriever, where the classes are those of ImageNet.</summary>
    private static readonly int[] s_labels = [1, 207];

    /// <summary>Runs it.</summary>
    /// <param name="backend">Where; not disposed.</param>
    /// <param name="progress">Told the fraction that is done.</param>
    /// <param name="cancellation">Ends the run.</param>
    public GoldenVectors Execute(IDiTBackend backend, IProgress<double>? progress, CancellationToken cancellation)
    {
        backend.Cancellation = cancellation;
        var weights = source.OpenWeights();
        var config = weights.Config;
        var denseBytes = weights.Layers.Sum(layer => layer is DenseWeight ? 4L * layer.Outputs * layer.Inputs : 0);
        using var model = new DiTModel(weights, backend, settings.Compatibility, residency: denseBytes > ResidentBytes ? WeightResidency.None : WeightResidency.All);

        int[] labels = [s_labels[0] % config.ClassCount, s_labels[1] % config.ClassCount];
        var run = ExportRun.Of(settings with { Steps = StepsOf(settings) }, config);
        var golden = new GoldenVectors
        {
            Seed = settings.Seed,
            Labels = labels,
            Steps = run.Plan.Steps.Length,
            Timesteps = s_timesteps,
            PassLabels = [labels[0], config.NullClass],
            TokenStride = TokenStride(config),
            PassLatents = new float[Count * config.LatentCount],
            Stages = [],
            Prediction = [],
            Latents = new float[Count * config.LatentCount],
            Pixels = [],
        };
        // The pass reads what the first step of the images reads.
        new ImageNoise(settings.Seed).BeginBatch([0, 1], golden.PassLatents);
        golden = Pass(model, golden);
        using var decoder = OpenDecoder(config, backend);
        return Images(model, decoder, run, golden, progress, cancellation);
    }

    /// <summary>Steps of the golden images: as many as asked for where that is few, else a number that every spacing takes.</summary>
    internal static int StepsOf(ExportSettings settings) => Math.Min(settings.Steps, MostSteps);

    /// <summary>The smallest stride with which the stages stay small.</summary>
    internal static int TokenStride(DiTConfig config)
    {
        var stride = 1;
        while ((config.Depth + 1L) * Count * KeptTokens(config, stride) * config.HiddenSize * sizeof(float) > StageBytes && stride < config.TokenCount) stride++;
        return stride;
    }

    /// <summary>Tokens of a sample that are kept.</summary>
    internal static int KeptTokens(DiTConfig config, int stride) => (config.TokenCount + stride - 1) / stride;

    private static GoldenVectors Pass(DiTModel model, GoldenVectors golden)
    {
        var (config, backend) = (model.Config, model.Backend);
        using var table = new ModulationTable(backend, config, Count);
        model.Conditioner.Fill(golden.Timesteps, golden.PassLabels, table);
        using var state = model.CreateState(Count, Count);
        backend.Upload<float>(golden.PassLatents, state.Latents);
        backend.Upload<int>([0, 1], state.ImageOfSample);
        backend.Upload<int>([0, 1], state.ModulationRowOfSample);

        var (tokens, hidden, kept) = (config.TokenCount, config.HiddenSize, KeptTokens(config, golden.TokenStride));
        var all = new float[Count * tokens * hidden];
        var stages = new float[(config.Depth + 1) * Count * kept * hidden];
        model.Forward(state, table, (block, values) =>
        {
            backend.Download(values, all);
            for (var sample = 0; sample < Count; sample++)
                for (var k = 0; k < kept; k++)
                    all.AsSpan((sample * tokens + k * golden.TokenStride) * hidden, hidden).CopyTo(stages.AsSpan((((block + 1) * Count + sample) * kept + k) * hidden));
        });
        var prediction = new float[Count * config.OutChannels * config.InputSize * config.InputSize];
        backend.Download(state.Prediction, prediction);
        return golden with { Stages = stages, Prediction = prediction };
    }

    private GoldenVectors Images(DiTModel model, IImageDecoder decoder, ExportRun run, GoldenVectors golden, IProgress<double>? progress, CancellationToken cancellation)
    {
        var config = model.Config;
        var side = config.InputSize * decoder.UpscaleFactor;
        var length = side * side * decoder.ImageChannels;
        var pixels = new byte[Count * length];
        var rounding = settings.Compatibility == Compatibility.Official ? PixelRounding.Truncate : PixelRounding.Nearest;
        var guided = settings.Compatibility == Compatibility.Official ? Math.Min(3, config.InChannels) : config.InChannels;
        new DiTPipeline(model, decoder).Generate(
            [0, 1], golden.Labels, new SamplingSettings(run.Plan, new ImageNoise(settings.Seed), run.GuidanceScale, guided), Count,
            image =>
            {
                image.Latent.CopyTo(golden.Latents.AsSpan(image.Index * config.LatentCount));
                PixelConversion.ToBytes(image.Pixels, pixels.AsSpan(image.Index * length, length), rounding);
            },
            new Fraction(progress), cancellation);
        return golden with { Pixels = pixels };
    }

    private IImageDecoder OpenDecoder(DiTConfig config, IDiTBackend backend)
    {
        if (source.DecoderPath is not { } path) return new PixelDecoder(config.InChannels);
        var decoder = ImageDecoders.Open(path, backend);
        decoder.TileSide = tileSide;
        return decoder;
    }

    /// <summary>Steps and decoded images as one fraction.</summary>
    private sealed class Fraction(IProgress<double>? all) : IProgress<GenerationProgress>
    {
        private const double Sampling = 0.9;

        public void Report(GenerationProgress value)
        {
            var done = value.Done / (double)value.Total;
            all?.Report(value.Stage == GenerationStage.Sampling ? Sampling * done : Sampling + (1 - Sampling) * done);
        }
    }
}

using System.Runtime.InteropServices;
using System.Security.Cryptography;
using DiTRuntime.Checkpoints;
using DiTRuntime.Imaging;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Cli.Generation;

/// <summary>A run with everything settled that can be settled before the weights are read.</summary>
internal sealed class GenerationSetup
{
    /// <summary>Images of the largest run.</summary>
    public const int MaxImages = 10_000_000;

    private readonly GenerateOptions _options;
    private readonly string? _latentsHash;
    private readonly RecordingNoise? _recording;

    /// <param name="options">What the command line says.</param>
    /// <param name="modelPath">The model's file or folder.</param>
    /// <param name="weights">The model, opened.</param>
    /// <param name="backend">Name of the backend that will run it.</param>
    /// <exception cref="UsageException">Flags that contradict each other or the model.</exception>
    public GenerationSetup(GenerateOptions options, string modelPath, DiTWeights weights, string backend)
    {
        _options = options;
        Config = weights.Config;
        ModelPath = modelPath;
        var hash = ContentHash.Of(weights.Checkpoint);
        Identity = new ModelIdentity(ModelSource.NameOf(modelPath), hash, options.Compatibility, ModelSource.DecoderHash(modelPath, options.Vae, Config), backend);
        Seed = SeedOf(options.Seed);
        CheckScale(options);
        IsGuided = options.Compatibility.Guides(options.CfgScale);

        var given = options.Latents is { } file ? LatentsFile.Read(file, Config) : default;
        if (given.Values is not null) _latentsHash = Hex(SHA256.HashData(MemoryMarshal.AsBytes<float>(given.Values)));
        ClassCycle = LabelList.Parse(options.ClassLabels, weights.Labels, Config.ClassCount);
        TotalCount = CountOf(options, ClassCycle.Length, given.Values is null ? null : given.Count);
        Images = Shard.Images(TotalCount);
        Labels = [.. Images.Select(image => ClassCycle[image % ClassCycle.Length])];
        Files = Outputs.Settle(options, [.. Images.Select((image, i) => new OutputImage(image, SeedOfImage(image), Labels[i]))]);

        Sampler = new SamplerOptions { Sampler = options.Sampler, Steps = options.Steps, Spacing = options.Spacing, Eta = options.Eta };
        Plan = Sampler.CreatePlan(Config, options.Compatibility);
        BatchSize = BatchOf(options);
        NoiseSource noise = options.Noise == NoiseKind.Image ? new ImageNoise(Seed) : new BatchNoise(Seed, IsGuided);
        if (given.Values is not null) noise = new GivenNoise(given.Values, noise);
        if (Files.Latents is not null) noise = _recording = new RecordingNoise(noise);
        Settings = new SamplingSettings(Plan, noise, IsGuided ? (float)options.CfgScale : 1, GuidedChannelsOf(options.CfgChannels));
    }

    /// <summary>The architecture.</summary>
    public DiTConfig Config { get; }

    /// <summary>The model's file or folder.</summary>
    public string ModelPath { get; }

    /// <summary>What images say about the model.</summary>
    public ModelIdentity Identity { get; }

    /// <summary>The seed, drawn if none was given.</summary>
    public ulong Seed { get; }

    /// <summary>Whether the unconditional half is computed.</summary>
    public bool IsGuided { get; }

    /// <summary>Images of the whole run, of which this part makes some.</summary>
    public int TotalCount { get; }

    /// <summary>Which part of the whole run it is.</summary>
    public Shard Shard => _options.Shard ?? Shard.Whole;

    /// <summary>Whether what is there already of this part is kept, and only the rest made.</summary>
    public bool Resumes => _options.Shard is not null && Files.Grid is null && Files.Latents is null;

    /// <summary>Classes of the whole run, repeated in turn.</summary>
    public int[] ClassCycle { get; }

    /// <summary>Index in the whole run of each image of this part.</summary>
    public int[] Images { get; }

    /// <summary>Class of each image of this part.</summary>
    public int[] Labels { get; }

    /// <summary>Images sampled together.</summary>
    public int BatchSize { get; }

    /// <summary>The sampler, as it was asked for.</summary>
    public SamplerOptions Sampler { get; }

    /// <summary>The sampler, worked out.</summary>
    public SamplingPlan Plan { get; }

    /// <summary>What the pipeline takes.</summary>
    public SamplingSettings Settings { get; }

    /// <summary>The files to make.</summary>
    public Outputs Files { get; }

    /// <summary>Where the images started from; recorded only when latents are saved.</summary>
    public IReadOnlyList<float[]> InitialLatents => _recording?.Latents ?? [];

    /// <summary>How an image was made, for its file.</summary>
    /// <param name="index">Its index in the whole run.</param>
    /// <param name="label">Its class.</param>
    /// <param name="image">Its pixels.</param>
    public GenerationParameters ParametersOf(int index, int label, Image image) =>
        Identity.ParametersOf(Sampler, _options.CfgScale, label, SeedOfImage(index), image) with
        {
            Noise = _options.Noise == NoiseKind.Image ? null : "batch",
            Latents = _latentsHash,
            GuidedChannels = IsGuided && Settings.GuidedChannels != GuidedChannelsOf(null) ? Settings.GuidedChannels : null,
        };

    /// <summary>The seed that belongs to an image: with a generator each, an image alone with this seed comes out the same.</summary>
    public ulong SeedOfImage(int image) => _options.Noise == NoiseKind.Image ? unchecked(Seed + (ulong)image) : Seed;

    private static ulong SeedOf(long seed) => seed switch
    {
        -1 => (ulong)RandomNumberGenerator.GetInt32(int.MaxValue),
        < -1 => throw new UsageException($"--seed {seed}: expected 0 or more, or -1 to draw one"),
        _ => (ulong)seed,
    };

    private static void CheckScale(GenerateOptions options)
    {
        if (options.CfgScale < 0 || !float.IsFinite((float)options.CfgScale))
            throw new UsageException($"--cfg-scale {options.CfgScale}: expected a number that is not negative");
    }

    private static int CountOf(GenerateOptions options, int labelCount, int? givenCount)
    {
        if (options.Count is < 1 or > MaxImages) throw new UsageException($"--count {options.Count}: expected 1 to {MaxImages}");
        if (options.Count is { } count && givenCount is { } given && count != given)
            throw new UsageException($"--count {count}: {options.Latents} holds latents for {given} image{(given == 1 ? "" : "s")}");
        if (options.Shard is not null && options.Noise == NoiseKind.Batch)
            throw new UsageException("--shard: with --noise batch an image depends on the ones before it; use --noise image");
        if (options.Shard is not null && options.Seed < 0) throw new UsageException("--shard: every shard of a run needs the same seed; --seed -1 would draw another for each");
        return options.Count ?? givenCount ?? labelCount;
    }

    private int BatchOf(GenerateOptions options)
    {
        if (options.Batch is < 1) throw new UsageException($"--batch {options.Batch}: expected 1 or more");
        var tokensPerImage = Config.TokenCount * (IsGuided ? 2L : 1);
        // The published scripts draw the noise of all images at once.
        long batch = options.Batch ?? (options.Noise == NoiseKind.Batch ? Images.Length : Math.Max(1, SamplingBatch.TokensOnProcessor / tokensPerImage));
        batch = Math.Min(batch, Images.Length);
        var largest = int.MaxValue / (tokensPerImage * Math.Max(Config.MlpSize, 3 * Config.HiddenSize));
        return batch <= largest ? (int)batch
            : throw new UsageException($"--batch {batch}: {batch} images of {Config.TokenCount} tokens are too many at once; at most {largest} can be");
    }

    private static string Hex(byte[] hash) => Convert.ToHexStringLower(hash.AsSpan(0, 5));

    private int GuidedChannelsOf(string? given) => given switch
    {
        null => _options.Compatibility.GuidedChannels(Config),
        "3" => Math.Min(3, Config.InChannels),
        "all" => Config.InChannels,
        _ => throw new UsageException($"--cfg-channels {given}: expected 3 or all"),
    };
}

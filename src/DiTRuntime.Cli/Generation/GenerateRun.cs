using System.Globalization;
using System.Text.Json.Nodes;
using DiTRuntime.Backends;
using DiTRuntime.Cuda;
using DiTRuntime.Cuda.Planning;
using DiTRuntime.Decoding;
using DiTRuntime.Models;

namespace DiTRuntime.Cli.Generation;

/// <summary>What <c>dit generate</c> does: checks everything, loads, samples, decodes, writes, and sums up.</summary>
internal sealed class GenerateRun(GenerateOptions options, Session session)
{
    private readonly PhaseClock _clock = new();

    /// <summary>Runs.</summary>
    /// <exception cref="DiTException">Any failure that is the user's to mend; nothing has been written then but whole images.</exception>
    public void Execute()
    {
        var limit = options.MaxVramMegabytes is { } megabytes ? LimitOf(megabytes) : (long?)null;
        using var backend = session.CreateBackend(new CudaOptions(limit));
        if (limit is not null && backend is not CudaBackend) throw new UsageException($"--max-vram: the {backend.Name} backend uses no GPU memory");
        var path = options.Model ?? ModelSource.BuiltIn;
        using var weights = ModelSource.Open(path, options.Heads, options.ImageSize);
        var setup = new GenerationSetup(options, path, weights, backend.Name);
        if (setup.Files.NeedPixels && !ModelSource.IsPixelSpace(setup.Config)) ModelSource.DecoderPath(path, options.Vae, setup.Config);
        setup.Files.Prepare();
        if (options.Seed < 0) session.Note($"seed {setup.Seed}");
        if (options.CfgScale != 1 && !setup.IsGuided) session.Note($"guidance is off: diffusers guides only at scales above 1, not at {Text(options.CfgScale)}");
        foreach (var remark in weights.Remarks) session.Detail($"{path}: {remark}");
        session.Detail(backend.Description);

        var plan = limit is { } bytes ? Fit((CudaBackend)backend, bytes, setup, path) : null;
        using var decoder = setup.Files.NeedPixels ? ModelSource.OpenDecoder(path, options.Vae, setup.Config, backend) : null;
        if (decoder is not null) session.Detail($"decoder: {decoder.Description}");
        if (decoder is not null && plan is not null) decoder.TileSide = Math.Min(decoder.TileSide, plan.TileSide);
        using var sinks = new ImageSinks(setup, setup.Config.InputSize * (decoder?.UpscaleFactor ?? 1), decoder?.ImageChannels ?? 0, options.Compatibility.Rounding());
        sinks.Check();
        sinks.Resume();
        session.WithProgress(display => Generate(setup, weights, plan?.Residency ?? WeightResidency.All, decoder, sinks, backend, display));
        Report(setup, weights, backend, decoder, sinks.Pending.Length);
    }

    private static string Text(double value) => value.ToString(CultureInfo.InvariantCulture);

    /// <summary>Plans the run below the limit, and says how; nothing has run when it is refused.</summary>
    private MemoryPlan Fit(CudaBackend backend, long limitBytes, GenerationSetup setup, string path)
    {
        var run = new PlannedRun(
            () => ModelSource.Open(path, options.Heads, options.ImageSize),
            setup.Files.NeedPixels ? planning => ModelSource.OpenDecoder(path, options.Vae, setup.Config, planning) : null,
            options.Compatibility,
            setup.Plan,
            setup.Settings.GuidanceScale,
            setup.Labels[..setup.BatchSize]);
        var plan = MemoryPlan.Fit(backend.Properties, limitBytes, run);
        session.Note(plan.ToString());
        return plan;
    }

    private static long LimitOf(int megabytes) =>
        megabytes > 0 ? megabytes * 1_000_000L : throw new UsageException($"--max-vram {megabytes}: expected a number of megabytes above 0");

    private void Generate(
        GenerationSetup setup, DiTWeights weights, WeightResidency residency, IImageDecoder? decoder, ImageSinks sinks, IDiTBackend backend, IProgressDisplay display)
    {
        if (sinks.Pending.Length == 0)
        {
            sinks.Collect(_ => { });
            return;
        }

        display.Report("loading", "%", 0, 100);
        using var model = new DiTModel(weights, backend, options.Compatibility, new DirectProgress<double>(done => display.Report("loading", "%", 100 * done, 100)), residency);
        _clock.Lap(Phase.Load);
        var pipeline = new DiTPipeline(model, decoder);
        display.Report("sampling", "steps", 0, StepCount(setup, sinks.Pending.Length));
        var progress = new DirectProgress<GenerationProgress>(report => OnProgress(report, decoder, display));
        int[] images = [.. sinks.Pending.Select(place => setup.Images[place])], labels = [.. sinks.Pending.Select(place => setup.Labels[place])];
        sinks.Collect(add =>
            pipeline.Generate(images, labels, setup.Settings, setup.BatchSize, image => OnImage(image, add), progress, session.Cancellation));
        _clock.Lap(Phase.Write);
    }

    private void OnProgress(GenerationProgress report, IImageDecoder? decoder, IProgressDisplay display)
    {
        if (report.Stage == GenerationStage.Sampling)
        {
            _clock.Lap(Phase.Sampling);
            display.Report("sampling", "steps", report.Done, report.Total);
        }
        else if (decoder is { UpscaleFactor: > 1 })
        {
            display.Report("decoding", "images", report.Done, report.Total);
        }
    }

    private void OnImage(GeneratedImage image, Action<GeneratedImage> add)
    {
        _clock.Lap(Phase.Decode);
        add(image);
        _clock.Lap(Phase.Write);
    }

    /// <summary>Steps of all batches together.</summary>
    private static int StepCount(GenerationSetup setup, int imageCount) =>
        (imageCount + setup.BatchSize - 1) / setup.BatchSize * setup.Plan.Steps.Length;

    /// <param name="setup">The run.</param>
    /// <param name="weights">The model.</param>
    /// <param name="backend">What ran it.</param>
    /// <param name="decoder">What decoded the images.</param>
    /// <param name="made">Images that were made; the others were there.</param>
    private void Report(GenerationSetup setup, DiTWeights weights, IDiTBackend backend, IImageDecoder? decoder, int made)
    {
        var stepsPerSecond = made == 0 ? 0 : StepCount(setup, made) / _clock.Seconds(Phase.Sampling);
        if (made == 0) session.Note($"shard {setup.Shard}: nothing to do, all {setup.Images.Length} images are there");
        else if (made < setup.Images.Length) session.Note($"shard {setup.Shard}: {setup.Images.Length - made} of {setup.Images.Length} images were there, {made} are new");
        if (session.Json)
        {
            session.Print(Summary(setup, weights, backend, decoder, stepsPerSecond, made));
            return;
        }

        foreach (var file in setup.Files.All) session.Print(file);
        session.Detail(string.Create(CultureInfo.InvariantCulture,
            $"images: {made}; {stepsPerSecond:0.00} steps/s at batch {setup.BatchSize}; seconds: load {_clock.Seconds(Phase.Load):0.00}, sampling {_clock.Seconds(Phase.Sampling):0.00}, decode {_clock.Seconds(Phase.Decode):0.00}, write {_clock.Seconds(Phase.Write):0.00}"));
    }

    private JsonObject Summary(GenerationSetup setup, DiTWeights weights, IDiTBackend backend, IImageDecoder? decoder, double stepsPerSecond, int made) => new()
    {
        ["version"] = ProductVersion.Text,
        ["backend"] = backend.Name,
        ["backend_description"] = backend.Description,
        ["model"] = new JsonObject
        {
            ["path"] = setup.ModelPath,
            ["name"] = setup.Identity.Name,
            ["architecture"] = DiTConfigs.NameOf(setup.Config),
            ["hash"] = setup.Identity.Hash,
            ["parameters"] = weights.ParameterCount,
        },
        ["decoder"] = decoder?.Description,
        ["settings"] = new JsonObject
        {
            ["compat"] = options.Compatibility.Name(),
            ["sampler"] = setup.Plan.Name,
            ["steps"] = setup.Plan.Steps.Length,
            ["spacing"] = setup.Sampler.ResolveSpacing().Name,
            ["eta"] = options.Eta,
            ["cfg_scale"] = options.CfgScale,
            ["guided_channels"] = setup.IsGuided ? setup.Settings.GuidedChannels : 0,
            ["seed"] = setup.Seed,
            ["noise"] = options.Noise == NoiseKind.Image ? "image" : "batch",
            ["image_size"] = setup.Config.InputSize * (decoder?.UpscaleFactor ?? ModelSource.FactorOf(setup.Config)),
            ["batch"] = setup.BatchSize,
            ["shard"] = setup.Shard.ToString(),
        },
        ["count"] = setup.Images.Length,
        ["made"] = made,
        ["images"] = new JsonArray([.. setup.Images.Select((image, i) => (JsonNode)new JsonObject
        {
            ["index"] = image,
            ["class"] = setup.Labels[i],
            ["name"] = weights.Labels.NameOf(setup.Labels[i]),
            ["seed"] = setup.SeedOfImage(image),
            ["file"] = setup.Files.Images.Length > 0 ? setup.Files.Images[i] : null,
        })]),
        ["files"] = new JsonArray([.. setup.Files.All.Select(file => (JsonNode)file)]),
        ["seconds"] = new JsonObject
        {
            ["load"] = _clock.Seconds(Phase.Load),
            ["sampling"] = _clock.Seconds(Phase.Sampling),
            ["decode"] = _clock.Seconds(Phase.Decode),
            ["write"] = _clock.Seconds(Phase.Write),
        },
        ["steps_per_second"] = stepsPerSecond,
        ["peak_resident_bytes"] = ResidentMemory.PeakBytes(),
        ["peak_gpu_bytes"] = backend is CudaBackend gpu ? gpu.PeakBytes : null,
    };
}

using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;
using DiTRuntime.Cuda;
using DiTRuntime.Decoding;
using DiTRuntime.Imaging;
using DiTRuntime.Models;
using DiTRuntime.Models.Scheduling;

namespace DiTRuntime.Serving;

/// <summary>A loaded model with its scheduler and what is told about it.</summary>
public sealed class ServedModel
{
    private readonly IDiTBackend _backend;
    private readonly DiTModel _model;
    private readonly IImageDecoder _decoder;

    private ServedModel(DiTOptions options, string path, DiTWeights weights, DiTModel model, IImageDecoder decoder, ISchedulerObserver? observer, TimeProvider time)
    {
        (_backend, _model, _decoder) = (model.Backend, model, decoder);
        var hash = ContentHash.Of(weights.Checkpoint);
        Identity = new ModelIdentity(ModelSource.NameOf(path), hash, options.Compatibility, ModelSource.DecoderHash(path, options.Decoder, weights.Config), _backend.Name);
        Labels = weights.Labels;
        Loaded = time.GetUtcNow();
        WeightBytes = _backend is CudaBackend gpu ? gpu.UsedBytes : weights.Checkpoint.Tensors.Sum(tensor => tensor.ByteCount);
        ImageSide = weights.Config.InputSize * decoder.UpscaleFactor;
        Pipeline = new DiTPipeline(model, decoder, options.Scheduler, observer);
        // Made now: it takes its memory and compiles its kernels before the first request.
        Scheduler = Pipeline.Scheduler;
    }

    /// <summary>What requests call it: its file's or folder's name.</summary>
    public string Id => Identity.Name;

    /// <summary>When it was loaded.</summary>
    public DateTimeOffset Loaded { get; }

    /// <summary>Fingerprint of the weights.</summary>
    public string Hash => Identity.Hash;

    /// <summary>What its images say about it.</summary>
    public ModelIdentity Identity { get; }

    /// <summary>Where it runs, for people.</summary>
    public string Backend => _backend.Description;

    /// <summary>Short name of the backend: images of two backends can differ in their last bits.</summary>
    public string BackendName => _backend.Name;

    /// <summary>The architecture.</summary>
    public DiTConfig Config => _model.Config;

    /// <summary>Names of its classes.</summary>
    public ClassLabels Labels { get; }

    /// <summary>Side of an image in pixels.</summary>
    public int ImageSide { get; }

    /// <summary>1 or 3.</summary>
    public int ImageChannels => _decoder.ImageChannels;

    /// <summary>Bytes of the weights: on the device, or as the file holds them where the backend is the processor.</summary>
    public long WeightBytes { get; }

    /// <summary>Bytes of GPU memory held now; null on other backends.</summary>
    public long? GpuBytes => (_backend as CudaBackend)?.UsedBytes;

    /// <summary>Makes images for callers in this process.</summary>
    public DiTPipeline Pipeline { get; }

    /// <summary>Runs the requests.</summary>
    public ImageScheduler Scheduler { get; }

    /// <summary>Pixels of a finished image.</summary>
    /// <param name="image">An image that was decoded.</param>
    public Image ToImage(GeneratedImage image) =>
        PixelConversion.ToImage(image.Pixels ?? throw new ArgumentException("the image was not decoded", nameof(image)), ImageSide, ImageSide, ImageChannels, Identity.Compatibility.Rounding());

    /// <summary>The file of a finished image, the same bytes that <c>dit generate</c> writes.</summary>
    /// <param name="request">The request it belongs to.</param>
    /// <param name="image">The image.</param>
    /// <param name="extension">".png", or another extension that this build writes.</param>
    public byte[] Encode(GenerationRequest request, GeneratedImage image, string extension)
    {
        var pixels = ToImage(image);
        var parameters = Identity.ParametersOf(request.Sampler, request.GuidanceScale, image.Label, request.SeedOf(image.Index), pixels);
        using var file = new MemoryStream();
        ImageCodecs.ForPath(extension).Encode(pixels, parameters.ToTexts(), extension, file);
        return file.ToArray();
    }

    /// <summary>Opens the backend, the model and its decoder.</summary>
    /// <param name="options">What to load.</param>
    /// <param name="observer">Is told of every step, or null.</param>
    /// <param name="time">The clock.</param>
    /// <param name="progress">Told the fraction of the layers that are ready; what it throws ends the loading.</param>
    /// <exception cref="DiTException">The model, the decoder or the backend is not to be had.</exception>
    internal static ServedModel Load(DiTOptions options, ISchedulerObserver? observer, TimeProvider time, IProgress<double> progress)
    {
        var path = options.Model ?? ModelSource.BuiltIn;
        var backend = options.OpenBackend?.Invoke() ?? BackendChoice.Open(options.Backend, options.Threads, new CudaOptions(options.MaxGpuBytes), options.Announce);
        DiTWeights? weights = null;
        DiTModel? model = null;
        IImageDecoder? decoder = null;
        try
        {
            if (options.MaxGpuBytes is not null && backend is not CudaBackend) throw new UsageException($"--max-vram: the {backend.Name} backend uses no GPU memory");
            // A service outlives what is done to its files.
            weights = ModelSource.Open(path, options.Heads, options.ImageSize, copies: backend is not CudaBackend);
            // Before the model: a decoder that is missing is told at once.
            decoder = ModelSource.OpenDecoder(path, options.Decoder, weights.Config, backend);
            model = new DiTModel(weights, backend, options.Compatibility, progress);
            return new ServedModel(options, path, weights, model, decoder, observer, time);
        }
        catch
        {
            decoder?.Dispose();
            model?.Dispose();
            weights?.Dispose();
            backend.Dispose();
            throw;
        }
    }

    /// <summary>Cancels what still runs and gives everything back.</summary>
    internal async ValueTask CloseAsync()
    {
        await Scheduler.DisposeAsync();
        _decoder.Dispose();
        _model.Dispose();
        _backend.Dispose();
    }
}

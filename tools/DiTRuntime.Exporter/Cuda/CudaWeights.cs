using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Exporter.Decoding;
using DiTRuntime.Exporter.Files;
using DiTRuntime.Exporter.Folder;
using DiTRuntime.Exporter.Planning;
using DiTRuntime.Models;

namespace DiTRuntime.Exporter.Cuda;

/// <summary>The weights, plans and kernels of <c>--target cuda</c>.</summary>
internal sealed class CudaWeights : IWeightsExport
{
    /// <summary>The most memory of the modulation table; a longer run is covered in windows of steps.</summary>
    private const long TableBytes = 256L << 20;

    /// <summary>From fast to small.</summary>
    private static readonly int[] s_tileSides = [64, 32, 16];

    private readonly ExportSource _source;
    private readonly ExportSettings _settings;
    private readonly DiTWeights _weights;
    private readonly Func<CudaArchitecture, ResourceList, IKernelCompiler> _openCompiler;
    private readonly CudaArchitecture[] _architectures;
    private readonly DecoderTrace _decoder;
    private readonly int _windows;

    /// <param name="source">What is exported.</param>
    /// <param name="settings">How.</param>
    /// <param name="weights">The model; stays the caller's.</param>
    /// <param name="openCompiler">Opens the compiler of an architecture; the architecture's own, with the user's cache, unless given.</param>
    /// <exception cref="UsageException">No architecture, or one that there is not.</exception>
    /// <exception cref="ExportMemoryException">No plan stays below the limit.</exception>
    public CudaWeights(ExportSource source, ExportSettings settings, DiTWeights weights, Func<CudaArchitecture, ResourceList, IKernelCompiler>? openCompiler = null)
    {
        if (settings.Architectures.Count == 0) throw new UsageException("--target cuda: name the GPU with --arch, sm_87 for Jetson Orin, say");
        (_source, _settings, _weights) = (source, settings, weights);
        _openCompiler = openCompiler ?? ((architecture, owned) => architecture.OpenCompiler(owned, new KernelCache()));
        _architectures = [.. settings.Architectures.Select(CudaArchitecture.Parse).Distinct()];
        (_decoder, _windows) = Fit();
    }

    /// <inheritdoc/>
    public string? Decoder => _decoder.Kind == FileDecoder.Pixels ? null : _decoder.Description;

    /// <inheritdoc/>
    public int TileSide => _decoder.TileSide;

    /// <inheritdoc/>
    /// <exception cref="GpuUnavailableException">The compiler is not here.</exception>
    public EdgeMemoryPlan Write(string folder, IProgress<double>? progress, CancellationToken cancellation)
    {
        var sections = new SectionList(Unsafe.SizeOf<FileHeader>());
        var writer = new PlanWriter(sections);
        var header = Header(_decoder, _windows);
        var (plans, recorded) = (new PlanHeader[_architectures.Length], new List<RecordedPlan>());
        // The table of plans goes first; it is full once the plans are added.
        header.Plan = sections.Add(plans);
        header.ClassNames = sections.Add(WeightsFile.ClassNames(_weights));
        for (var i = 0; i < plans.Length; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            using var owned = new ResourceList();
            var plan = Record(_architectures[i], TileSide, _windows, holdsData: true);
            plans[i] = writer.Add(_architectures[i], plan, PlanKernels.Compile(plan, _openCompiler(_architectures[i], owned), cancellation));
            recorded.Add(plan);
            progress?.Report((i + 1.0) / (plans.Length + 1));
        }

        header.FileBytes = sections.FileBytes;
        AtomicFile.Write(Path.Combine(folder, FolderWriter.WeightsName), stream =>
        {
            stream.Write(MemoryMarshal.AsBytes(new ReadOnlySpan<FileHeader>(in header)));
            sections.Write(stream, null, cancellation);
        });
        return Largest(header, recorded);
    }

    /// <inheritdoc/>
    public void Dispose() => _decoder.Dispose();

    private static EdgeMemoryPlan Largest(FileHeader header, IEnumerable<RecordedPlan> plans) =>
        plans.Select(plan => EdgeMemoryPlan.OfDevice(header, plan)).MaxBy(plan => plan.MemoryBytes)!;

    /// <summary>The decoder in the largest tiles, and the fewest windows, with which all architectures stay below the limit.</summary>
    private (DecoderTrace Decoder, int Windows) Fit()
    {
        EdgeMemoryPlan? smallest = null;
        foreach (var side in s_tileSides.Where((side, i) => i == 0 || (_source.DecoderPath is not null && side < _weights.Config.InputSize)))
        {
            var decoder = DecoderTrace.Of(_source.DecoderPath, _weights.Config, side);
            if (_settings.MaxMemoryBytes is not { } limit) return (decoder, 1);
            for (var windows = 1; windows < 2 * _settings.Steps; windows *= 2)
            {
                var memory = Largest(Header(decoder, windows), _architectures.Select(architecture => Record(architecture, decoder.TileSide, windows, holdsData: false)));
                if (memory.MemoryBytes <= limit) return (decoder, windows);
                if (smallest is null || memory.MemoryBytes < smallest.MemoryBytes) smallest = memory;
            }

            decoder.Dispose();
        }

        throw new ExportMemoryException(string.Create(CultureInfo.InvariantCulture,
            $"--max-memory {_settings.MaxMemoryBytes / 1e6:0.##}MB: at least {smallest!.MemoryBytes / 1e6:0.##} MB are needed beside the weights' file; a smaller --batch needs less"));
    }

    private RecordedPlan Record(CudaArchitecture architecture, int tileSide, int windows, bool holdsData)
    {
        using var recorder = new PlanRecorder(_source, _settings.Compatibility, tileSide, architecture.Device, holdsData);
        return recorder.Record(_settings.Batch, conditions => WindowSteps(conditions, windows));
    }

    private int WindowSteps(int conditions, int windows) =>
        (int)Math.Clamp(TableBytes / (conditions * ModulationTable.RowBytes(_weights.Config)), 1, (_settings.Steps + windows - 1) / windows);

    /// <summary>The facts of a model, its decoder and its run; what only the processor's runtime reads is absent.</summary>
    private FileHeader Header(DecoderTrace decoder, int windows)
    {
        var conditions = _settings.Batch + 1;
        var plan = ExportRun.Of(_settings, _weights.Config).FilePlan(_settings.Batch, WindowSteps(conditions, windows) * conditions);
        return WeightsFile.Model(_weights.Config, _settings.Compatibility) with
        {
            Magic = FileHeader.FileMagic,
            Version = FileHeader.FileVersion,
            HeaderBytes = (uint)Unsafe.SizeOf<FileHeader>(),
            Target = FileTarget.Cuda,
            MaxBatch = (uint)plan.Batch,
            DefaultSteps = (uint)plan.Steps,
            TableRows = (uint)plan.TableRows,
            DefaultSampler = plan.Sampler,
            DefaultSpacing = plan.Spacing,
            DefaultGuidance = plan.GuidanceScale,
            DecoderKind = decoder.Kind,
            TileSize = (uint)decoder.TileSide,
            Upscale = (uint)decoder.Upscale,
            ImageChannels = (uint)decoder.ImageChannels,
            ScalingFactor = decoder.ScalingFactor,
            ShiftFactor = decoder.ShiftFactor,
            DecoderInput = FileHeader.None,
            DecoderOutput = FileHeader.None,
        };
    }
}

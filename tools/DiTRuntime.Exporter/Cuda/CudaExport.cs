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

/// <summary>The weights, plans and cubins of <c>--target cuda</c>.</summary>
/// <param name="source">What is exported.</param>
/// <param name="settings">How.</param>
/// <param name="openCompiler">Opens the compiler of an architecture.</param>
internal sealed class CudaExport(ExportSource source, ExportSettings settings, Func<CudaArchitecture, ResourceList, IKernelCompiler> openCompiler)
{
    /// <summary>The most memory of the modulation table; a longer run is covered in windows of steps.</summary>
    private const long TableBytes = 256L << 20;

    /// <summary>From fast to small.</summary>
    private static ReadOnlySpan<int> TileSides => [64, 32, 16];

    /// <summary>Writes weights.dit for the GPU into a folder.</summary>
    /// <param name="source">What is exported.</param>
    /// <param name="settings">How.</param>
    /// <param name="folder">An existing folder; the caller renames it once it is complete.</param>
    /// <param name="cancellation">Ends the work.</param>
    /// <returns>What the player is to hold.</returns>
    /// <exception cref="UsageException">No architecture, or one that there is not.</exception>
    /// <exception cref="GpuUnavailableException">The compiler is not here.</exception>
    /// <exception cref="ExportMemoryException">No plan stays below the limit.</exception>
    public static CudaMemory Write(ExportSource source, ExportSettings settings, string folder, CancellationToken cancellation)
    {
        var cache = new KernelCache();
        return new CudaExport(source, settings, (architecture, owned) => architecture.OpenCompiler(owned, cache)).Write(Path.Combine(folder, FolderWriter.WeightsName), cancellation);
    }

    /// <summary>Writes the file.</summary>
    /// <param name="path">Where to; it appears whole or not at all.</param>
    /// <param name="cancellation">Ends the work.</param>
    public CudaMemory Write(string path, CancellationToken cancellation)
    {
        if (settings.Architectures.Count == 0) throw new UsageException("--target cuda: name the GPU with --arch, sm_87 for Jetson Orin, say");
        var architectures = settings.Architectures.Select(CudaArchitecture.Parse).Distinct().ToArray();
        using var weights = source.OpenWeights();
        var (tileSide, windows) = Fit(weights, architectures);
        using var decoder = DecoderTrace.Of(source.DecoderPath, weights.Config, tileSide);

        var sections = new SectionList(Unsafe.SizeOf<FileHeader>());
        var writer = new PlanWriter(sections);
        var conditions = settings.Batch + 1;
        var header = Header(weights, decoder, WindowSteps(weights.Config, conditions, windows) * conditions);
        var (plans, recorded) = (new PlanHeader[architectures.Length], new List<(string, RecordedPlan)>());
        // The table of plans goes first; it is full once the plans are added.
        header.Plan = sections.Add(plans);
        header.ClassNames = sections.Add(WeightsFile.ClassNames(weights));
        for (var i = 0; i < plans.Length; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            using var owned = new ResourceList();
            var plan = Record(architectures[i], weights.Config, decoder.TileSide, windows, holdsData: true);
            plans[i] = writer.Add(architectures[i], plan, PlanKernels.Compile(plan, openCompiler(architectures[i], owned), cancellation));
            recorded.Add((architectures[i].Name, plan));
        }

        header.FileBytes = sections.FileBytes;
        AtomicFile.Write(path, stream =>
        {
            stream.Write(MemoryMarshal.AsBytes(new ReadOnlySpan<FileHeader>(in header)));
            sections.Write(stream, null, cancellation);
        });
        return new CudaMemory(header, recorded);
    }

    /// <summary>The decoder's tile and the number of windows with which all architectures stay below the limit.</summary>
    private (int TileSide, int Windows) Fit(DiTWeights weights, CudaArchitecture[] architectures)
    {
        if (settings.MaxMemoryBytes is not { } limit) return (TileSides[0], 1);
        var smallest = long.MaxValue;
        foreach (var side in TileSides)
        {
            if (side != TileSides[0] && (source.DecoderPath is null || side >= weights.Config.InputSize)) continue;
            using var decoder = DecoderTrace.Of(source.DecoderPath, weights.Config, side);
            for (var windows = 1; windows < 2 * settings.Steps; windows *= 2)
            {
                var plans = architectures.Select(architecture => (architecture.Name, Record(architecture, weights.Config, decoder.TileSide, windows, holdsData: false))).ToArray();
                var bytes = new CudaMemory(Header(weights, decoder, 0), plans).MemoryBytes;
                if (bytes <= limit) return (side, windows);
                smallest = Math.Min(smallest, bytes);
            }
        }

        throw new ExportMemoryException(string.Create(CultureInfo.InvariantCulture, $"--max-memory {limit / 1e6:0.##}MB: at least {smallest / 1e6:0.##} MB are needed; a smaller --batch needs less"));
    }

    private RecordedPlan Record(CudaArchitecture architecture, DiTConfig config, int tileSide, int windows, bool holdsData)
    {
        using var recorder = new PlanRecorder(source, settings.Compatibility, tileSide, architecture.Device, holdsData);
        return recorder.Record(settings.Batch, conditions => WindowSteps(config, conditions, windows));
    }

    private int WindowSteps(DiTConfig config, int conditions, int windows) =>
        (int)Math.Clamp(TableBytes / (conditions * ModulationTable.RowBytes(config)), 1, (settings.Steps + windows - 1) / windows);

    /// <summary>The facts of a model, its decoder and its run; what only the processor's runtime reads is absent.</summary>
    private FileHeader Header(DiTWeights weights, DecoderTrace decoder, int tableRows) =>
        WeightsFile.HeaderOf(weights.Config, decoder, settings.Compatibility, ExportRun.Of(settings, weights.Config).FilePlan(settings.Batch, tableRows)) with { Target = FileTarget.Cuda };
}

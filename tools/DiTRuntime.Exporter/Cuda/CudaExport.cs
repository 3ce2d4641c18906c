using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Exporter.Decoding;
using DiTRuntime.Exporter.Files;
using DiTRuntime.Exporter.Folder;
using DiTRuntime.Models;

namespace DiTRuntime.Exporter.Cuda;

/// <summary>The weights, plans and cubins of <c>--target cuda</c>.</summary>
internal static class CudaExport
{
    /// <summary>The most memory of the modulation table; a longer run is covered in windows of steps.</summary>
    private const long TableBytes = 256L << 20;

    /// <summary>Writes weights.dit for the GPU, and what else the player reads, into a folder.</summary>
    /// <param name="source">What is exported.</param>
    /// <param name="settings">How.</param>
    /// <param name="folder">An existing folder; the caller renames it once it is complete.</param>
    /// <param name="cancellation">Ends the work.</param>
    /// <exception cref="UsageException">No architecture, or one that there is not.</exception>
    /// <exception cref="GpuUnavailableException">The compiler is not here.</exception>
    /// <returns>What it holds on the device.</returns>
    public static DeviceBytes Write(ExportSource source, ExportSettings settings, string folder, CancellationToken cancellation) =>
        Write(source, settings, folder, new KernelCache(), cancellation);

    /// <inheritdoc cref="Write(ExportSource, ExportSettings, string, CancellationToken)"/>
    /// <param name="source">What is exported.</param>
    /// <param name="settings">How.</param>
    /// <param name="folder">An existing folder.</param>
    /// <param name="cache">Kernels compiled before.</param>
    /// <param name="cancellation">Ends the work.</param>
    /// <returns>What it holds on the device: the most of all architectures.</returns>
    internal static DeviceBytes Write(ExportSource source, ExportSettings settings, string folder, KernelCache cache, CancellationToken cancellation)
    {
        if (settings.Architectures.Count == 0) throw new UsageException("--target cuda: name the GPU with --arch, sm_87 for Jetson Orin, say");
        var architectures = settings.Architectures.Select(CudaArchitecture.Parse).Distinct().ToArray();
        using var weights = source.OpenWeights();
        using var decoder = DecoderTrace.Of(source.DecoderPath, weights.Config);
        var run = ExportRun.Of(settings, weights.Config);
        int WindowSteps(int conditions) => (int)Math.Clamp(TableBytes / (conditions * ModulationTable.RowBytes(weights.Config)), 1, settings.Steps);

        var sections = new SectionList(Unsafe.SizeOf<FileHeader>());
        var writer = new PlanWriter(sections);
        var header = Header(weights, decoder, settings, run.FilePlan(settings.Batch, WindowSteps(settings.Batch + 1) * (settings.Batch + 1)));
        var plans = new PlanHeader[architectures.Length];
        // The table of plans goes first; it is full once the plans are added.
        header.Plan = sections.Add(plans);
        header.ClassNames = sections.Add(WeightsFile.ClassNames(weights));
        var device = default(DeviceBytes);
        for (var i = 0; i < plans.Length; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            using var owned = new ResourceList();
            using var recorder = new PlanRecorder(source, settings.Compatibility, decoder.TileSide, architectures[i].Device);
            var plan = recorder.Record(settings.Batch, WindowSteps);
            device = new DeviceBytes(Math.Max(device.Resident, plan.ResidentBytes), Math.Max(device.Shape, plan.LargestShapeBytes));
            plans[i] = writer.Add(architectures[i], plan, PlanKernels.Compile(plan, architectures[i].OpenCompiler(owned, cache), cancellation));
        }

        header.FileBytes = sections.FileBytes;
        AtomicFile.Write(Path.Combine(folder, FolderWriter.WeightsName), stream =>
        {
            stream.Write(MemoryMarshal.AsBytes(new ReadOnlySpan<FileHeader>(in header)));
            sections.Write(stream, null, cancellation);
        });
        return device;
    }

    /// <summary>The facts of a model, its decoder and its run; what only the processor's runtime reads is absent.</summary>
    private static FileHeader Header(DiTWeights weights, DecoderTrace decoder, ExportSettings settings, FilePlan plan) => WeightsFile.Model(weights.Config, settings.Compatibility) with
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

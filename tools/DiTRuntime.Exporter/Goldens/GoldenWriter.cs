using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using DiTRuntime.Exporter.Files;
using DiTRuntime.Models;

namespace DiTRuntime.Exporter.Goldens;

/// <summary>Writes golden.dit.</summary>
internal static class GoldenWriter
{
    /// <summary>The file's name in the folder.</summary>
    public const string FileName = "golden.dit";

    /// <summary>
    /// The same operations in the same order give the same bits, so what is allowed is little: what one unit of the last place of a single value,
    /// where another C library's sine rounds the other way, makes of a stage. A wrong bit of a weight is beyond it.
    /// </summary>
    private const float StageTolerance = 1e-7f;

    /// <summary>A run repeats a pass's deviation step by step.</summary>
    private const float LatentTolerance = 1e-6f;

    /// <summary>Of 255.</summary>
    private const uint PixelTolerance = 1;

    /// <summary>A GPU works in fp16: 2⁻¹¹ relative at every rounding, which a run of guided steps makes some ten times as large.</summary>
    private const float GpuStageTolerance = 2e-2f, GpuLatentTolerance = 1e-1f;

    /// <summary>Of 255, at an edge of the image.</summary>
    private const uint GpuPixelTolerance = 48;

    /// <summary>Writes the file.</summary>
    /// <param name="path">Where to.</param>
    /// <param name="golden">What was computed.</param>
    /// <param name="run">The run's sampling.</param>
    /// <param name="weights">The model.</param>
    /// <param name="forGpu">Whether a GPU's values are to be compared with these.</param>
    public static void Write(string path, GoldenVectors golden, ExportRun run, DiTWeights weights, bool forGpu = false)
    {
        var sections = new SectionList(Unsafe.SizeOf<GoldenHeader>());
        var header = new GoldenHeader
        {
            Magic = GoldenHeader.FileMagic,
            Version = FileHeader.FileVersion,
            HeaderBytes = (uint)Unsafe.SizeOf<GoldenHeader>(),
            Seed = golden.Seed,
            Labels = Pair.Of(golden.Labels[0], golden.Labels[1]),
            Steps = (uint)golden.Steps,
            Sampler = run.SamplerNumber,
            Spacing = run.SpacingNumber,
            GuidanceScale = run.GuidanceScale,
            Timesteps = Pair.Of(golden.Timesteps[0], golden.Timesteps[1]),
            PassLabels = Pair.Of(golden.PassLabels[0], golden.PassLabels[1]),
            StageCount = (uint)weights.Config.Depth + 1,
            TokenStride = (uint)golden.TokenStride,
            StageTolerance = forGpu ? GpuStageTolerance : StageTolerance,
            LatentTolerance = forGpu ? GpuLatentTolerance : LatentTolerance,
            PixelTolerance = forGpu ? GpuPixelTolerance : PixelTolerance,
            PassLatents = sections.Add(golden.PassLatents),
            Stages = sections.Add(golden.Stages),
            Prediction = sections.Add(golden.Prediction),
            Latents = sections.Add(golden.Latents),
            Pixels = sections.Add(golden.Pixels),
        };
        header.FileBytes = sections.FileBytes;
        AtomicFile.Write(path, stream =>
        {
            stream.Write(MemoryMarshal.AsBytes(new ReadOnlySpan<GoldenHeader>(in header)));
            sections.Write(stream, onWritten: null, CancellationToken.None);
        });
    }
}

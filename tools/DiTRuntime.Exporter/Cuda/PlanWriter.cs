using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Exporter.Files;

namespace DiTRuntime.Exporter.Cuda;

/// <summary>Gives plans their sections in a file; bytes that several plans share are written once.</summary>
/// <param name="sections">Where the sections go.</param>
internal sealed class PlanWriter(SectionList sections)
{
    private readonly Dictionary<string, FileSection> _known = [];

    /// <summary>Adds a plan.</summary>
    /// <param name="architecture">What it is for.</param>
    /// <param name="plan">What is to be played.</param>
    /// <param name="images">Its kernels, compiled, in the plan's order.</param>
    public PlanHeader Add(CudaArchitecture architecture, RecordedPlan plan, IReadOnlyList<KernelImage> images) => new()
    {
        Version = PlanHeader.PlanVersion,
        PlanBytes = (uint)Unsafe.SizeOf<PlanHeader>(),
        Architecture = architecture.Number,
        IsSpecific = architecture.IsSpecific ? 1u : 0,
        BufferCount = (uint)plan.Buffers.Count,
        KernelCount = (uint)plan.Kernels.Count,
        CommandCount = (uint)plan.Commands.Count,
        PointerCount = (uint)plan.Pointers.Count,
        ShapeCount = (uint)plan.Shapes.Count,
        InputStride = (uint)plan.Decoder.InputStride,
        OutputStride = (uint)plan.Decoder.OutputStride,
        Decode = plan.Decoder.Commands,
        DecoderInput = plan.Decoder.Input,
        DecoderOutput = plan.Decoder.Output,
        Commands = sections.Add(plan.Commands.ToArray()),
        Pointers = sections.Add(plan.Pointers.ToArray()),
        Shapes = sections.Add(plan.Shapes.ToArray()),
        Arguments = sections.Add(plan.Arguments),
        Kernels = sections.Add(plan.Kernels.Select((kernel, i) => new PlanKernel
        {
            Entry = FileName.Of(kernel.Spec.Entry),
            Image = Once(images[i].Code, SectionList.SectionAlignment),
            SharedBytes = (uint)kernel.SharedBytes,
            ArgumentBytes = (uint)kernel.ArgumentBytes,
        }).ToArray()),
        Buffers = sections.Add(plan.Buffers.Select(buffer => new PlanBuffer
        {
            Bytes = (ulong)buffer.ByteCount,
            Contents = Once(buffer.Contents, SectionList.WeightAlignment),
            Shape = (uint?)buffer.Shape ?? FileHeader.None,
        }).ToArray()),
    };

    private FileSection Once(ReadOnlyMemory<byte> bytes, int alignment)
    {
        if (bytes.IsEmpty) return default;
        var key = Convert.ToHexStringLower(SHA256.HashData(bytes.Span));
        if (!_known.TryGetValue(key, out var section)) _known.Add(key, section = sections.Add(bytes.Length, stream => stream.Write(bytes.Span), alignment));
        return section;
    }
}

using DiTRuntime.Cuda.Compilation;

namespace DiTRuntime.Exporter.Cuda;

/// <summary>What the engine did, ready to be written: buffers, kernels, commands and shapes by number.</summary>
internal sealed class RecordedPlan
{
    /// <summary>The buffers that something uses, in order of allocation.</summary>
    public required IReadOnlyList<RecordedBuffer> Buffers { get; init; }

    /// <summary>The kernels that are launched, in order of their first use.</summary>
    public required IReadOnlyList<RecordedKernel> Kernels { get; init; }

    /// <summary>Launches and stages of all lists.</summary>
    public required IReadOnlyList<PlanCommand> Commands { get; init; }

    /// <summary>Pointers of all launches.</summary>
    public required IReadOnlyList<PlanPointer> Pointers { get; init; }

    /// <summary>Argument structs of all launches, each at a multiple of 16.</summary>
    public required byte[] Arguments { get; init; }

    /// <summary>Batch shapes.</summary>
    public required IReadOnlyList<PlanShape> Shapes { get; init; }

    /// <summary>The decoder's commands, places and strides; empty for models that work on pixels.</summary>
    public required RecordedDecoder Decoder { get; init; }

    /// <summary>Device memory that is held as long as a context.</summary>
    public long ResidentBytes => ShapeBytes(null);

    /// <summary>Device memory that the largest shape holds beside that.</summary>
    public long LargestShapeBytes => Enumerable.Range(0, Shapes.Count).Max(shape => ShapeBytes(shape));

    /// <summary>The most that is copied between the host and the device at once.</summary>
    public long StagingBytes => (long)Shapes.SelectMany(shape => new[] { shape.Timesteps, shape.RowOfSample, shape.Updates, shape.Latents, shape.Tokens })
        .Append(Decoder.Input).Append(Decoder.Output).Max(place => place.Bytes);

    /// <summary>Bytes of the buffers that only one shape uses; null: of those that stay.</summary>
    public long ShapeBytes(int? shape) => Buffers.Where(buffer => buffer.Shape == shape).Sum(buffer => buffer.ByteCount);
}

/// <summary>A buffer.</summary>
/// <param name="ByteCount">Its length.</param>
/// <param name="Contents">What it begins with; empty: zeros.</param>
/// <param name="Shape">The only shape that uses it, or null.</param>
internal sealed record RecordedBuffer(long ByteCount, ReadOnlyMemory<byte> Contents, int? Shape);

/// <summary>A kernel.</summary>
/// <param name="Spec">What is to be compiled.</param>
/// <param name="SharedBytes">The most dynamic shared memory of its launches.</param>
/// <param name="ArgumentBytes">Length of its argument struct.</param>
internal sealed record RecordedKernel(KernelSpec Spec, int SharedBytes, int ArgumentBytes);

/// <summary>Decoding one tile.</summary>
/// <param name="Commands">What runs.</param>
/// <param name="Input">f16 [tile, tile, stride].</param>
/// <param name="InputStride">Halves of a position.</param>
/// <param name="Output">f16 [f·tile, f·tile, stride].</param>
/// <param name="OutputStride">Halves of a pixel.</param>
internal readonly record struct RecordedDecoder(PlanRange Commands, PlanPlace Input, int InputStride, PlanPlace Output, int OutputStride)
{
    /// <summary>Pixels need none.</summary>
    public static RecordedDecoder None => new(default, PlanPlace.None, 0, PlanPlace.None, 0);
}

using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda;

/// <summary>Device memory of a tensor: F32 or I32 as callers see it, or activations in fp16 or quantized.</summary>
/// <remarks>Rows of fp16 begin every <see cref="RowStride"/> halves, a multiple of 8, so that they can be read 16 bytes at a time.</remarks>
internal sealed class CudaTensor : Tensor
{
    private readonly ResourceList _owned = new();

    /// <summary>Plain values: 4 bytes each, or halves.</summary>
    public CudaTensor(CudaBackend owner, ElementType type, bool isHalf, ReadOnlySpan<int> shape)
        : base(owner, type, shape)
    {
        IsHalf = isHalf;
        RowStride = isHalf ? AlignedWidth(RowLength) : RowLength;
        var buffer = _owned.Add(owner.AllocateZeroed((long)RowCount * RowStride * (isHalf ? 2 : 4)));
        Pointer = buffer.Pointer;
    }

    /// <summary>Quantized activations.</summary>
    public CudaTensor(CudaBackend owner, ActivationFormat format, ReadOnlySpan<int> shape)
        : base(owner, ElementType.U8, shape, format)
    {
        var layout = new ActivationLayout(format.Grid(RowLength));
        RowStride = layout.CodeStride;
        try
        {
            Quantized = new DeviceActivation
            {
                Codes = Add((long)RowCount * layout.CodeStride),
                Scales = Add((long)RowCount * layout.Grid.Count * sizeof(float)),
                Corrections = Add((long)RowCount * layout.CorrectionStride * sizeof(ushort)),
                StaticScales = format.StaticScales is { } scales ? Upload(scales) : default,
                StaticZeros = format.StaticZeros is { } zeros ? Upload(Array.ConvertAll(zeros, zero => (float)zero)) : default,
            };
        }
        catch
        {
            _owned.Dispose();
            throw;
        }

        DevicePointer Add(long byteCount) => _owned.Add(owner.AllocateZeroed(byteCount)).Pointer;

        DevicePointer Upload(float[] values)
        {
            var pointer = Add(values.Length * sizeof(float));
            owner.Staging.Upload<float>(values, pointer);
            return pointer;
        }
    }

    private CudaTensor(CudaTensor whole, long firstByte, ReadOnlySpan<int> shape)
        : base(whole.Owner, whole.Type, shape, whole.Activations)
    {
        IsHalf = whole.IsHalf;
        RowStride = whole.RowStride;
        Pointer = whole.Activations is null ? whole.Pointer + firstByte : whole.Pointer;
        Quantized = whole.Quantized;
    }

    /// <summary>Whether values are halves; callers see F32.</summary>
    public bool IsHalf { get; }

    /// <summary>Elements from one row to the next.</summary>
    public int RowStride { get; }

    /// <summary>The first value; null for quantized activations.</summary>
    public DevicePointer Pointer { get; }

    /// <summary>Codes, scales and corrections of quantized activations.</summary>
    public DeviceActivation Quantized { get; }

    /// <summary>Halves of a row of <paramref name="width"/> values.</summary>
    public static int AlignedWidth(int width) => (width + 7) / 8 * 8;

    /// <inheritdoc/>
    protected override Tensor View(int firstSlice, ReadOnlySpan<int> shape)
    {
        var sliceValues = shape.Length == 1 ? 1 : (long)(RowCount / Shape[0]) * RowStride;
        return new CudaTensor(this, firstSlice * sliceValues * (IsHalf ? 2 : 4), shape);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing) _owned.Dispose();
    }
}

using DiTRuntime.Backends;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>A linear layer's weight on the device, in fragment order; <see cref="LinearPacker"/> makes it.</summary>
internal sealed class CudaLinear : PreparedLinear
{
    private readonly GpuBuffer _records;

    /// <param name="weight">What was packed.</param>
    /// <param name="layout">How.</param>
    /// <param name="records">Where; owned from now on.</param>
    public CudaLinear(LinearWeight weight, WeightLayout layout, GpuBuffer records)
        : base(weight.Name, weight.Outputs, weight.Inputs, layout.Format.IsInteger() ? weight.Activations : null)
    {
        _records = records;
        Layout = layout;
        MaxCode = layout.Format switch
        {
            GemmFormat.F16 or GemmFormat.LookupA16 => 0,
            GemmFormat.LookupA8 => CodebookWeight.MaxInteger,
            _ => weight is GroupWeight group ? group.Format.MaxCode : byte.MaxValue,
        };
    }

    /// <summary>Sizes of the records; says the format.</summary>
    public WeightLayout Layout { get; }

    /// <summary>What the layer multiplies.</summary>
    public GemmFormat Format => Layout.Format;

    /// <summary>The largest magnitude of a code of the weight, or of a codeword's element in 8 bits; 0 for halves.</summary>
    public int MaxCode { get; }

    /// <summary>Device memory it takes.</summary>
    public long ByteCount => _records.ByteCount;

    /// <summary>Memory that the records take where they are decoded before a product; 0 where they wait as they are read.</summary>
    public long DecodedBytes => Layout.IsDecoded ? (long)WeightLayout.RecordCount(Outputs) * Layout.RecordBytes : 0;

    /// <summary>Where the weight lies.</summary>
    public DevicePointer Storage => _records.Pointer;

    /// <summary>The weight as a kernel's argument.</summary>
    /// <param name="decoded">Where its records are, if they were decoded.</param>
    public DeviceWeight Device(DevicePointer decoded) => new()
    {
        Records = Layout.IsDecoded ? decoded : _records.Pointer,
        RecordBytes = Layout.RecordBytes,
        CorrectionsAt = Layout.CorrectionsAt,
        ScalesAt = Layout.ScalesAt,
        BiasAt = Layout.BiasAt,
        RecordCount = WeightLayout.RecordCount(Outputs),
        Steps = Layout.Steps,
        CorrectionSteps = Layout.CorrectionSteps,
        GroupCount = Layout.Grid.Count,
        Outputs = Outputs,
        Inputs = Inputs,
        PartRecords = Format.IsLookup() ? Layout.Books!.PartRecords : 0,
        BookCount = Format.IsLookup() ? Layout.Books!.BookCount : 0,
        Books = Format.IsLookup() ? Books : DevicePointer.Null,
    };

    /// <summary>How its records are decoded.</summary>
    /// <param name="records">Where to: <see cref="DecodedBytes"/>.</param>
    public DecodeArguments Decode(DevicePointer records) => new()
    {
        Packed = _records.Pointer,
        Books = Books,
        Table = Layout.Books!.TableBytes == 0 ? DevicePointer.Null : Books + Layout.Books.StoredBytes(isLookup: false).Books,
        Records = records,
        PackedBytes = Layout.StoredRecordBytes,
        PackedCodes = Layout.Books.PackedCodeBytes,
        RecordBytes = Layout.RecordBytes,
        RecordCodes = Layout.CorrectionsAt,
        Steps = Layout.Steps,
        GroupSize = Layout.Grid.Size,
        GroupPitch = Format.IsInteger() ? Layout.Pitch : Layout.Steps * 16,
        Inputs = Inputs,
        PartRows = Layout.Books.PartRows,
        LastBook = Layout.Books.Format.Parts - 1,
        BookSize = Layout.Books.Format.CodebookSize,
    };

    private DevicePointer Books => _records.Pointer + (long)WeightLayout.RecordCount(Outputs) * Layout.StoredRecordBytes;

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing) _records.Dispose();
    }
}

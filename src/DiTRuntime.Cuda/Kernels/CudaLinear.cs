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
        MaxCode = layout.Format == GemmFormat.F16 ? 0 : ((GroupWeight)weight).Format.MaxCode;
    }

    /// <summary>Sizes of the records; says the format.</summary>
    public WeightLayout Layout { get; }

    /// <summary>What the layer multiplies.</summary>
    public GemmFormat Format => Layout.Format;

    /// <summary>The largest code of the weight; 0 for halves.</summary>
    public int MaxCode { get; }

    /// <summary>Device memory it takes.</summary>
    public long ByteCount => _records.ByteCount;

    /// <summary>The weight as a kernel's argument.</summary>
    public DeviceWeight Device => new()
    {
        Records = _records.Pointer,
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
    };

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing) _records.Dispose();
    }
}

using System.Runtime.ExceptionServices;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>
/// Brings weights from the file's layout onto the device: records are packed in parallel into one half of a page-locked buffer while the
/// other half is copied. Host memory stays at that buffer and a few rows a thread, whatever the layer's size.
/// </summary>
/// <remarks>One layer at a time.</remarks>
internal sealed class LinearPacker : IDisposable
{
    private const int HalfBytes = 2 << 20;

    private readonly IGpuDevice _device;
    private readonly GpuStream _stream;
    private readonly GpuEvent[] _copied;
    private PinnedBuffer _staging;

    /// <param name="device">Where the layers go; outlives the packer.</param>
    public LinearPacker(IGpuDevice device)
    {
        _device = device;
        _stream = device.CreateStream();
        _copied = [device.CreateEvent(), device.CreateEvent()];
        _staging = device.AllocatePinned(2 * HalfBytes);
    }

    /// <summary>Packs a layer; it is on the device when this returns.</summary>
    /// <exception cref="InvalidFileException">A value or a zero point's contribution is beyond the range of a half; names the layer.</exception>
    /// <exception cref="GpuOutOfMemoryException">There is no room for it.</exception>
    public CudaLinear Pack(LinearWeight weight)
    {
        var layout = WeightLayout.Of(weight);
        if (weight is CodebookWeight { Format.VectorLength: var d } && layout.Grid.Count > 1 && layout.Grid.Size % d != 0)
            throw new ArgumentException($"{weight.Name}: activations in groups of {layout.Grid.Size}, vectors of {d}; a group is whole vectors", nameof(weight));
        if (layout.Format.IsInteger() && weight.Activations!.Grid(weight.Inputs).Size != layout.Grid.Size)
            throw new ArgumentException($"{weight.Name}: weights in groups of {layout.Grid.Size}, activations in groups of {weight.Activations.Grid(weight.Inputs).Size}; they must be equal", nameof(weight));
        var recordCount = WeightLayout.RecordCount(weight.Outputs);
        var buffer = _device.Allocate(layout.StoredBytes(weight.Outputs));
        try
        {
            if (_device.HoldsData) Upload(weight, layout, recordCount, buffer.Pointer);
            return new CudaLinear(weight, layout, buffer);
        }
        catch
        {
            _stream.Synchronize();
            buffer.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stream.Dispose();
        foreach (var mark in _copied) mark.Dispose();
        _staging.Dispose();
    }

    private void Upload(LinearWeight weight, WeightLayout layout, int recordCount, DevicePointer destination)
    {
        var recordBytes = layout.StoredRecordBytes;
        GrowStaging(recordBytes);
        var half = _staging.Bytes.Length / 2;
        var recordsAtOnce = half / recordBytes;
        var tables = weight is CodebookWeight codebook ? new CodebookTables(codebook, layout) : null;
        for (int first = 0, side = 0; first < recordCount; first += recordsAtOnce, side ^= 1)
        {
            var count = Math.Min(recordsAtOnce, recordCount - first);
            _copied[side].Synchronize();
            PackRecords(Packer, recordBytes, first, count, side * half);
            _stream.CopyToDevice(_staging, side * half, destination + (long)first * recordBytes, (long)count * recordBytes);
            _stream.Record(_copied[side]);
        }

        _stream.Synchronize();
        if (tables is not null) Upload(tables.Bytes, destination + (long)recordCount * recordBytes);

        IRecordPacker Packer() => tables is null ? new RecordPacker(weight, layout) : new CodebookRecordPacker((CodebookWeight)weight, layout, tables);
    }

    private void Upload(ReadOnlySpan<byte> bytes, DevicePointer destination)
    {
        for (var at = 0; at < bytes.Length; at += _staging.Bytes.Length)
        {
            var piece = bytes.Slice(at, Math.Min(_staging.Bytes.Length, bytes.Length - at));
            piece.CopyTo(_staging.Bytes);
            _stream.CopyToDevice(_staging, 0, destination + at, piece.Length);
            _stream.Synchronize();
        }
    }

    private void PackRecords(Func<IRecordPacker> create, int recordBytes, int first, int count, int stagingOffset)
    {
        try
        {
            Parallel.For(
                0, count,
                create,
                (i, _, packer) =>
                {
                    packer.Pack((first + i) * WeightLayout.RecordRows, _staging.Bytes.Slice(stagingOffset + i * recordBytes, recordBytes));
                    return packer;
                },
                _ => { });
        }
        catch (AggregateException e)
        {
            ExceptionDispatchInfo.Throw(e.InnerExceptions[0]);
        }
    }

    private void GrowStaging(int recordBytes)
    {
        if (_staging.Bytes.Length >= 2 * recordBytes) return;
        _staging.Dispose();
        _staging = _device.AllocatePinned(2L * recordBytes);
    }
}

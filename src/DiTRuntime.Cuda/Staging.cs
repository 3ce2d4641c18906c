using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda;

/// <summary>Copies between the host and the device through page-locked memory, piece by piece; each call ends when the copy has.</summary>
/// <param name="device">The device.</param>
/// <param name="stream">The stream that orders the copies among its work.</param>
internal sealed class Staging(IGpuDevice device, GpuStream stream) : IDisposable
{
    private const int PieceBytes = 4 << 20;

    private readonly PinnedBuffer _piece = device.AllocatePinned(PieceBytes);

    /// <summary>Copies values as they are.</summary>
    public void Upload<T>(ReadOnlySpan<T> source, DevicePointer destination)
        where T : unmanaged
    {
        if (!device.HoldsData) return;
        var bytes = MemoryMarshal.AsBytes(source);
        for (var start = 0; start < bytes.Length; start += PieceBytes)
        {
            var piece = bytes.Slice(start, Math.Min(PieceBytes, bytes.Length - start));
            piece.CopyTo(_piece.Bytes);
            Send(destination + start, piece.Length);
        }
    }

    /// <summary>Copies values out as they are.</summary>
    public void Download<T>(DevicePointer source, Span<T> destination)
        where T : unmanaged
    {
        if (!device.HoldsData) return;
        var bytes = MemoryMarshal.AsBytes(destination);
        for (var start = 0; start < bytes.Length; start += PieceBytes)
        {
            var piece = bytes.Slice(start, Math.Min(PieceBytes, bytes.Length - start));
            Receive(source + start, piece.Length);
            _piece.Bytes[..piece.Length].CopyTo(piece);
        }
    }

    /// <summary>Copies floats into rows of halves.</summary>
    /// <param name="source">Rows without gaps; the last may be cut.</param>
    /// <param name="destination">The first row.</param>
    /// <param name="rowLength">Values of a row.</param>
    /// <param name="rowStride">Halves from one row to the next.</param>
    public void UploadHalves(ReadOnlySpan<float> source, DevicePointer destination, int rowLength, int rowStride)
    {
        if (!device.HoldsData) return;
        var rowsPerPiece = PieceRows(rowStride);
        for (var row = 0; (long)row * rowLength < source.Length; row += rowsPerPiece)
        {
            var values = source[(row * rowLength)..];
            values = values[..(int)Math.Min(values.Length, (long)rowsPerPiece * rowLength)];
            var halves = MemoryMarshal.Cast<byte, Half>(_piece.Bytes);
            var end = 0;
            for (var r = 0; r * rowLength < values.Length; r++)
            {
                var part = values[(r * rowLength)..Math.Min((r + 1) * rowLength, values.Length)];
                TensorPrimitives.ConvertToHalf(part, halves[(r * rowStride)..]);
                end = r * rowStride + part.Length;
                // What pads a row stays zero.
                if (part.Length == rowLength) halves[end..((r + 1) * rowStride)].Clear();
                if (part.Length == rowLength) end = (r + 1) * rowStride;
            }

            Send(destination + (long)row * rowStride * 2, end * 2);
        }
    }

    /// <summary>Copies rows of halves out as floats.</summary>
    /// <inheritdoc cref="UploadHalves"/>
    public void DownloadHalves(DevicePointer source, Span<float> destination, int rowLength, int rowStride)
    {
        if (!device.HoldsData) return;
        var rowsPerPiece = PieceRows(rowStride);
        for (var row = 0; (long)row * rowLength < destination.Length; row += rowsPerPiece)
        {
            var values = destination[(row * rowLength)..];
            values = values[..(int)Math.Min(values.Length, (long)rowsPerPiece * rowLength)];
            var wholeRows = values.Length / rowLength;
            Receive(source + (long)row * rowStride * 2, (wholeRows * rowStride + values.Length % rowLength) * 2);
            var halves = MemoryMarshal.Cast<byte, Half>(_piece.Bytes);
            for (var r = 0; r * rowLength < values.Length; r++)
            {
                var part = values[(r * rowLength)..Math.Min((r + 1) * rowLength, values.Length)];
                TensorPrimitives.ConvertToSingle(halves.Slice(r * rowStride, part.Length), part);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _piece.Dispose();

    private static int PieceRows(int rowStride) => Math.Max(1, PieceBytes / 2 / rowStride);

    private void Send(DevicePointer destination, long byteCount)
    {
        stream.CopyToDevice(_piece, 0, destination, byteCount);
        stream.Synchronize();
    }

    private void Receive(DevicePointer source, long byteCount)
    {
        stream.CopyToHost(source, _piece, 0, byteCount);
        stream.Synchronize();
    }
}

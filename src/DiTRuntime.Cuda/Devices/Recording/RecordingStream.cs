using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;

namespace DiTRuntime.Cuda.Devices;

/// <summary>A stream that writes down what it passes on; a call that fails is not written down.</summary>
[SuppressMessage("Naming", "CA1711", Justification = "The field's word: a CUDA stream.")]
internal sealed class RecordingStream(RecordingDevice device, GpuStream inner, int number) : GpuStream
{
    public override void Launch<T>(GpuKernel kernel, in LaunchShape shape, in T arguments) =>
        Launch(kernel, shape, MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in arguments)), PointerFields.Of<T>());

    public override void Launch(GpuKernel kernel, in LaunchShape shape, ReadOnlySpan<byte> arguments) =>
        Launch(kernel, shape, arguments, PointerFields.Guess(arguments, device.Place));

    public override void CopyToDevice(PinnedBuffer source, long sourceOffset, DevicePointer destination, long byteCount)
    {
        var from = (RecordingPinnedBuffer)source;
        inner.CopyToDevice(from.Inner, sourceOffset, destination, byteCount);
        device.Add(new RecordedUpload(number, new RecordedPlace(from.Number, sourceOffset), Place(destination), byteCount));
    }

    public override void CopyToHost(DevicePointer source, PinnedBuffer destination, long destinationOffset, long byteCount)
    {
        var to = (RecordingPinnedBuffer)destination;
        inner.CopyToHost(source, to.Inner, destinationOffset, byteCount);
        device.Add(new RecordedDownload(number, Place(source), new RecordedPlace(to.Number, destinationOffset), byteCount));
    }

    public override void Copy(DevicePointer source, DevicePointer destination, long byteCount)
    {
        inner.Copy(source, destination, byteCount);
        device.Add(new RecordedCopy(number, Place(source), Place(destination), byteCount));
    }

    public override void Fill(DevicePointer destination, byte value, long byteCount)
    {
        inner.Fill(destination, value, byteCount);
        device.Add(new RecordedFill(number, Place(destination), value, byteCount));
    }

    public override void Record(GpuEvent mark)
    {
        var own = (RecordingEvent)mark;
        inner.Record(own.Inner);
        device.Add(new RecordedMark(number, own.Number));
    }

    public override void Wait(GpuEvent mark)
    {
        var own = (RecordingEvent)mark;
        inner.Wait(own.Inner);
        device.Add(new RecordedWait(number, own.Number));
    }

    public override GpuGraph Capture(Action body)
    {
        var (graph, graphNumber) = device.Capture(() => inner.Capture(body));
        return new RecordingGraph(graph, graphNumber);
    }

    public override void Launch(GpuGraph graph)
    {
        var own = (RecordingGraph)graph;
        inner.Launch(own.Inner);
        device.Add(new RecordedReplay(number, own.Number));
    }

    public override void Synchronize() => inner.Synchronize();

    protected override void Dispose(bool disposing) => inner.Dispose();

    private void Launch(GpuKernel kernel, in LaunchShape shape, ReadOnlySpan<byte> arguments, int[] pointerOffsets)
    {
        var own = (RecordingKernel)kernel;
        inner.Launch(own.Inner, shape, arguments);
        var bytes = arguments.ToArray();
        var pointers = device.TakePointers(bytes, pointerOffsets);
        device.Add(new RecordedLaunch(number, own.Module, own.Name, shape, bytes, pointers));
    }

    private RecordedPlace Place(DevicePointer pointer) => device.Place(pointer.Address);
}

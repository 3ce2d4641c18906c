using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;

namespace DiTRuntime.Cuda.Devices;

/// <summary>Work that runs in order. Every call but <see cref="Synchronize"/> returns at once.</summary>
[SuppressMessage("Naming", "CA1711", Justification = "The field's word: a CUDA stream.")]
public abstract class GpuStream : GpuResource
{
    /// <summary>Launches a kernel with its one argument struct.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="shape">Blocks and threads.</param>
    /// <param name="arguments">The struct's bytes, copied before the call returns.</param>
    /// <exception cref="GpuException">The launch was refused; names the kernel. With DIT_SYNC=1 also when it failed while running.</exception>
    public abstract void Launch(GpuKernel kernel, in LaunchShape shape, ReadOnlySpan<byte> arguments);

    /// <summary>Launches a kernel with its one argument struct.</summary>
    public virtual void Launch<T>(GpuKernel kernel, in LaunchShape shape, in T arguments)
        where T : unmanaged =>
        Launch(kernel, shape, MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in arguments)));

    /// <summary>Copies page-locked host memory to the device.</summary>
    public abstract void CopyToDevice(PinnedBuffer source, long sourceOffset, DevicePointer destination, long byteCount);

    /// <summary>Copies device memory to page-locked host memory.</summary>
    public abstract void CopyToHost(DevicePointer source, PinnedBuffer destination, long destinationOffset, long byteCount);

    /// <summary>Copies inside the device.</summary>
    public abstract void Copy(DevicePointer source, DevicePointer destination, long byteCount);

    /// <summary>Sets every byte.</summary>
    public abstract void Fill(DevicePointer destination, byte value, long byteCount);

    /// <summary>Sets a mark after the work so far.</summary>
    public abstract void Record(GpuEvent mark);

    /// <summary>Lets later work of this stream wait for a mark of another.</summary>
    public abstract void Wait(GpuEvent mark);

    /// <summary>Records what <paramref name="body"/> launches into this stream instead of running it.</summary>
    /// <exception cref="GpuException">Something in it cannot be recorded.</exception>
    public abstract GpuGraph Capture(Action body);

    /// <summary>Replays recorded work.</summary>
    public abstract void Launch(GpuGraph graph);

    /// <summary>Blocks the host until all work is done.</summary>
    /// <exception cref="GpuException">A kernel failed; names it where that is known.</exception>
    public abstract void Synchronize();
}

using System.Text;

namespace DiTRuntime.Cuda.Devices.Emulated;

/// <summary>A kernel's shared library, loaded.</summary>
internal sealed class EmulatedModule(EmulatedRuntime runtime, KernelImage image) : GpuModule
{
    private readonly EmulatedModuleHandle _handle = runtime.Open(image);

    public override unsafe GpuKernel Kernel(string entry)
    {
        ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
        var address = runtime.Symbol(_handle, entry);
        var limits = runtime.Symbol(_handle, entry + "_limits");
        if (address == 0 || limits == 0) throw new GpuException($"{image.Title} has no kernel {entry}");
        return new EmulatedKernel(entry, _handle, address, limits);
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing) _handle.Dispose();
    }
}

/// <summary>A kernel of a loaded module.</summary>
internal sealed class EmulatedKernel(string name, EmulatedModuleHandle module, nint entry, nint limits) : GpuKernel
{
    public override string Name => name;

    public override KernelResources Resources => default;

    public EmulatedModuleHandle Module => module;

    public nint Entry => entry;

    public nint Limits => limits;

    public byte[] NameBytes { get; } = Encoding.UTF8.GetBytes(name + "\0");

    public override int Occupancy(int threads, int sharedBytes) => 1;
}

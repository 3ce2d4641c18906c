using System.Runtime.InteropServices;
using System.Text;
using DiTRuntime.Cuda.Compilation;
using Microsoft.Win32.SafeHandles;

namespace DiTRuntime.Cuda.Devices.Emulated;

/// <summary>The functions of kernels/emulator/runtime.cpp, which stays loaded as long as the process: kernels hold on to it.</summary>
internal sealed unsafe class EmulatedRuntime
{
    private const int MessageCapacity = 2048;
    private static readonly Lock s_lock = new();
    private static EmulatedRuntime? s_loaded;

    private readonly delegate* unmanaged<uint, nint> _create;
    private readonly delegate* unmanaged<nint, void> _destroy;
    private readonly delegate* unmanaged<nint, ulong, ulong> _allocate;
    private readonly delegate* unmanaged<nint, ulong, int> _release;
    private readonly delegate* unmanaged<nint, ulong, ulong, byte*, int, int> _holds;
    private readonly delegate* unmanaged<byte*, byte*, int, nint> _open;
    private readonly delegate* unmanaged<nint, void> _close;
    private readonly delegate* unmanaged<nint, byte*, nint> _symbol;
    private readonly delegate* unmanaged<nint, nint, byte*, nint, uint*, uint, uint, ulong, int, byte*, uint, byte*, int, int> _launch;

    private EmulatedRuntime(string file)
    {
        var library = NativeLibrary.Load(file);
        nint Find(string name) => NativeLibrary.GetExport(library, "dit_emulator_" + name);
        _create = (delegate* unmanaged<uint, nint>)Find("create");
        _destroy = (delegate* unmanaged<nint, void>)Find("destroy");
        _allocate = (delegate* unmanaged<nint, ulong, ulong>)Find("allocate");
        _release = (delegate* unmanaged<nint, ulong, int>)Find("release");
        _holds = (delegate* unmanaged<nint, ulong, ulong, byte*, int, int>)Find("holds");
        _open = (delegate* unmanaged<byte*, byte*, int, nint>)Find("open");
        _close = (delegate* unmanaged<nint, void>)Find("close");
        _symbol = (delegate* unmanaged<nint, byte*, nint>)Find("symbol");
        _launch = (delegate* unmanaged<nint, nint, byte*, nint, uint*, uint, uint, ulong, int, byte*, uint, byte*, int, int>)Find("launch");
    }

    /// <summary>The process's one runtime, compiled and loaded by whoever asks first.</summary>
    public static EmulatedRuntime Get(IKernelCompiler compiler)
    {
        lock (s_lock)
        {
            if (s_loaded is not null) return s_loaded;
            var image = compiler.Compile(HostCompiler.Runtime);
            return s_loaded = WithFile(image, file => new EmulatedRuntime(file));
        }
    }

    public EmulatedDeviceHandle CreateDevice(int threadCount)
    {
        var device = new EmulatedDeviceHandle(_create((uint)threadCount), d => _destroy(d));
        if (device.IsInvalid) throw new GpuOutOfMemoryException($"the emulated device needs some 256 MiB of addresses for each of its {threadCount} threads, and the system refuses");
        return device;
    }

    public ulong Allocate(EmulatedDeviceHandle device, long byteCount) => Use(device, d => _allocate(d, (ulong)byteCount));

    public void Release(EmulatedDeviceHandle device, ulong address) => Use(device, d => _release(d, address));

    public void RequireBuffer(EmulatedDeviceHandle device, DevicePointer pointer, long byteCount, string what)
    {
        Span<byte> message = stackalloc byte[MessageCapacity];
        var held = false;
        device.DangerousAddRef(ref held);
        try
        {
            fixed (byte* text = message)
            {
                if (_holds(device.DangerousGetHandle(), pointer.Address, (ulong)byteCount, text, MessageCapacity) == 0)
                    throw new GpuException($"{what} of {byteCount} bytes out of bounds, at {Text(message)}");
            }
        }
        finally
        {
            device.DangerousRelease();
        }
    }

    public EmulatedModuleHandle Open(KernelImage image) =>
        WithFile(image, file =>
        {
            Span<byte> message = stackalloc byte[MessageCapacity];
            fixed (byte* path = Encoding.UTF8.GetBytes(file + "\0"), text = message)
            {
                var library = _open(path, text, MessageCapacity);
                if (library == 0) throw new GpuException($"{image.Title} cannot be loaded: {Text(message)}");
                return new EmulatedModuleHandle(library, l => _close(l));
            }
        });

    public nint Symbol(EmulatedModuleHandle module, string name)
    {
        fixed (byte* text = Encoding.UTF8.GetBytes(name + "\0")) return _symbol(module.DangerousGetHandle(), text);
    }

    public void Launch(EmulatedDeviceHandle device, EmulatedKernel kernel, in LaunchShape shape, ReadOnlySpan<byte> arguments, ulong seed, bool checks)
    {
        Span<byte> message = stackalloc byte[MessageCapacity];
        Span<uint> grid = [(uint)shape.GridX, (uint)shape.GridY, (uint)shape.GridZ];
        bool deviceHeld = false, moduleHeld = false;
        try
        {
            device.DangerousAddRef(ref deviceHeld);
            kernel.Module.DangerousAddRef(ref moduleHeld);
            fixed (byte* name = kernel.NameBytes, argumentBytes = arguments, text = message)
            fixed (uint* blocks = grid)
            {
                var succeeded = _launch(device.DangerousGetHandle(), kernel.Entry, name, kernel.Limits, blocks, (uint)shape.Threads, (uint)shape.SharedBytes,
                    seed, checks ? 1 : 0, argumentBytes, (uint)arguments.Length, text, MessageCapacity);
                if (succeeded == 0) throw new GpuException(Text(message));
            }
        }
        finally
        {
            if (moduleHeld) kernel.Module.DangerousRelease();
            if (deviceHeld) device.DangerousRelease();
        }
    }

    private static T Use<T>(EmulatedDeviceHandle device, Func<nint, T> action)
    {
        var held = false;
        device.DangerousAddRef(ref held);
        try
        {
            return action(device.DangerousGetHandle());
        }
        finally
        {
            device.DangerousRelease();
        }
    }

    // A library is read from a file; once it is loaded the file may go.
    private static T WithFile<T>(KernelImage image, Func<string, T> load)
    {
        var file = Path.Combine(Path.GetTempPath(), $"dit-{Guid.NewGuid():N}.so");
        try
        {
            File.WriteAllBytes(file, image.Code);
            return load(file);
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static string Text(ReadOnlySpan<byte> message) => Encoding.UTF8.GetString(message[..message.IndexOf((byte)0)]);
}

/// <summary>Something of the emulator's runtime, and what gives it back.</summary>
internal abstract class EmulatedHandle : SafeHandleZeroOrMinusOneIsInvalid
{
    private readonly Action<nint> _release;

    protected EmulatedHandle(nint value, Action<nint> release)
        : base(ownsHandle: true)
    {
        _release = release;
        SetHandle(value);
    }

    protected override bool ReleaseHandle()
    {
        _release(handle);
        return true;
    }
}

/// <summary>A device of the emulator's runtime.</summary>
internal sealed class EmulatedDeviceHandle(nint device, Action<nint> release) : EmulatedHandle(device, release);

/// <summary>A kernel's shared library.</summary>
internal sealed class EmulatedModuleHandle(nint library, Action<nint> release) : EmulatedHandle(library, release);

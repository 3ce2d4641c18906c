using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Devices.Emulated;

namespace DiTRuntime.Tests.Cuda;

/// <summary>The emulated device that kernel tests share, made by the first that asks. Tests are ignored where there is no C++ compiler.</summary>
internal static class TestDevice
{
    private static readonly Lazy<(EmulatedDevice? Device, KernelLibrary? Library, GpuStream? Stream, string? Missing)> s_made = new(Make);

    /// <summary>Compiles with the host's compiler and keeps what it made below .build/, for the next run of the tests.</summary>
    public static IKernelCompiler Compiler { get; } = Cached(KernelSources.All);

    public static IGpuDevice Device => Made.Device!;

    public static KernelLibrary Library => Made.Library!;

    public static GpuStream Stream => Made.Stream!;

    private static (EmulatedDevice? Device, KernelLibrary? Library, GpuStream? Stream, string? Missing) Made
    {
        get
        {
            if (s_made.Value.Missing is { } missing) Assert.Ignore(missing);
            return s_made.Value;
        }
    }

    /// <summary>A compiler of other sources, with the same cache.</summary>
    public static IKernelCompiler Cached(IReadOnlyDictionary<string, string> sources) =>
        new CachingCompiler(new HostCompiler(sources), new KernelCache(Path.Combine(TestFiles.Root, ".build", "kernel-cache")), sources);

    public static GpuBuffer Upload<T>(ReadOnlySpan<T> values)
        where T : unmanaged
    {
        var bytes = MemoryMarshal.AsBytes(values);
        var buffer = Device.Allocate(Math.Max(1, bytes.Length));
        using var pinned = Device.AllocatePinned(Math.Max(1, bytes.Length));
        bytes.CopyTo(pinned.Bytes);
        Stream.CopyToDevice(pinned, 0, buffer.Pointer, bytes.Length);
        Stream.Synchronize();
        return buffer;
    }

    public static GpuBuffer UploadHalf(ReadOnlySpan<float> values)
    {
        var halves = new Half[values.Length];
        for (var i = 0; i < halves.Length; i++) halves[i] = (Half)values[i];
        return Upload<Half>(halves);
    }

    public static GpuBuffer Zeroed(long byteCount)
    {
        var buffer = Device.Allocate(byteCount);
        Stream.Fill(buffer.Pointer, 0, byteCount);
        return buffer;
    }

    public static T[] Download<T>(GpuBuffer buffer, int count)
        where T : unmanaged
    {
        var values = new T[count];
        var bytes = MemoryMarshal.AsBytes(values.AsSpan());
        using var pinned = Device.AllocatePinned(Math.Max(1, bytes.Length));
        Stream.CopyToHost(buffer.Pointer, pinned, 0, bytes.Length);
        Stream.Synchronize();
        pinned.Bytes[..bytes.Length].CopyTo(bytes);
        return values;
    }

    public static float[] DownloadHalf(GpuBuffer buffer, int count) => Array.ConvertAll(Download<Half>(buffer, count), h => (float)h);

    private static (EmulatedDevice? Device, KernelLibrary? Library, GpuStream? Stream, string? Missing) Make()
    {
        try
        {
            var device = new EmulatedDevice(Compiler);
            return (device, new KernelLibrary(device, Compiler), device.CreateStream(), null);
        }
        catch (GpuUnavailableException e)
        {
            return (null, null, null, e.Message);
        }
    }
}

using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Devices.Emulated;
using DiTRuntime.Cuda.Interop;

namespace DiTRuntime.Tests.Cuda;

/// <summary>
/// The device that kernel tests share, made by the first that asks: the emulated one, or with DIT_TEST_DEVICE=cuda a GPU. Tests are ignored where there
/// is no C++ compiler; without the GPU that was asked for they fail.
/// </summary>
internal static class TestDevice
{
    /// <summary>Category of the tests that run on <see cref="Device"/>, whichever it is.</summary>
    public const string Category = "Device";

    private static readonly Lazy<(IGpuDevice? Device, IKernelCompiler? Compiler, KernelLibrary? Library, GpuStream? Stream, string? Missing)> s_made = new(Make);

    /// <summary>Compiles for the emulated device and keeps what it made below .build/, for the next run of the tests.</summary>
    public static IKernelCompiler EmulatedCompiler { get; } = Cached(KernelSources.All);

    /// <summary>Compiles for <see cref="Device"/>.</summary>
    public static IKernelCompiler Compiler => Made.Compiler!;

    public static IGpuDevice Device => Made.Device!;

    public static KernelLibrary Library => Made.Library!;

    public static GpuStream Stream => Made.Stream!;

    private static bool UsesGpu => Environment.GetEnvironmentVariable("DIT_TEST_DEVICE") == "cuda";

    private static KernelCache Cache => new(Path.Combine(TestFiles.Root, ".build", "kernel-cache"));

    private static (IGpuDevice? Device, IKernelCompiler? Compiler, KernelLibrary? Library, GpuStream? Stream, string? Missing) Made
    {
        get
        {
            if (s_made.Value.Missing is { } missing) Assert.Ignore(missing);
            return s_made.Value;
        }
    }

    /// <summary>A compiler of other sources, with the same cache.</summary>
    public static IKernelCompiler Cached(IReadOnlyDictionary<string, string> sources) =>
        new CachingCompiler(new HostCompiler(sources), Cache, sources);

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

    private static (IGpuDevice? Device, IKernelCompiler? Compiler, KernelLibrary? Library, GpuStream? Stream, string? Missing) Make()
    {
        try
        {
            IGpuDevice device = UsesGpu ? CudaDevice.Open() : new EmulatedDevice(EmulatedCompiler);
            var compiler = UsesGpu ? new CachingCompiler(new NvrtcCompiler(NvrtcLibrary.Load(), new TargetArchitecture(device.Properties.Architecture)), Cache) : EmulatedCompiler;
            return (device, compiler, new KernelLibrary(device, compiler), device.CreateStream(), null);
        }
        catch (GpuUnavailableException e) when (!UsesGpu)
        {
            return (null, null, null, null, e.Message);
        }
    }
}

using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Devices.Emulated;

namespace DiTRuntime.Tests.Cuda;

/// <summary>The emulated device that kernel tests share, made by the first that asks. Tests are ignored where there is no C++ compiler.</summary>
internal static class TestDevice
{
    private static readonly Lazy<(EmulatedDevice? Device, KernelLibrary? Library, GpuStream? Stream, string? Missing)> s_made = new(Make);

    /// <summary>Compiles with the host's compiler and keeps what it made below .build/, for the next run of the tests.</summary>
    public static IKernelCompiler Compiler { get; } = new DirectoryCache(new HostCompiler(), KernelSources.All);

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

    /// <summary>Images by a hash of everything they are made from.</summary>
    internal sealed class DirectoryCache(IKernelCompiler compiler, IReadOnlyDictionary<string, string> sources) : IKernelCompiler
    {
        private static readonly string s_directory = Path.Combine(TestFiles.Root, ".build", "kernel-cache");

        private readonly Dictionary<string, string> _hashes = [];

        public string Identity => compiler.Identity;

        public KernelImage Compile(KernelSpec spec)
        {
            var file = Path.Combine(s_directory, Key(spec));
            if (File.Exists(file)) return new KernelImage(spec.Text, File.ReadAllBytes(file), "");
            var image = compiler.Compile(spec);
            Directory.CreateDirectory(s_directory);
            var temporary = string.Create(CultureInfo.InvariantCulture, $"{file}.{Environment.ProcessId}");
            File.WriteAllBytes(temporary, image.Code);
            File.Move(temporary, file, overwrite: true);
            return image;
        }

        // A kernel depends on its own file, and on every header.
        private string Key(KernelSpec spec)
        {
            if (!_hashes.TryGetValue(spec.File, out var hash))
            {
                var text = new StringBuilder();
                foreach (var (path, source) in sources)
                    if (path == spec.File || !path.EndsWith(".cu", StringComparison.Ordinal)) text.Append(path).Append('\0').Append(source).Append('\0');
                _hashes[spec.File] = hash = Hash(text.ToString());
            }

            return Hash($"{Identity}\n{spec.Text}\n{hash}");
        }

        private static string Hash(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..32];
    }
}

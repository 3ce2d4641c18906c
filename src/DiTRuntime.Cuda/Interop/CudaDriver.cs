using System.Text;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Interop;

/// <summary>The driver's library, loaded and started.</summary>
/// <remarks>Stays loaded until the process ends: handles that the garbage collector finds late are still given back through it.</remarks>
internal sealed unsafe class CudaDriver
{
    private static readonly Dictionary<string, CudaDriver> s_loaded = [];
    private static readonly Lock s_gate = new();
    private readonly SharedLibrary _library;

    private CudaDriver(SharedLibrary library)
    {
        _library = library;
        Api = new DriverApi(library);
        var status = Api.cuInit(0);
        if (!status.Succeeded) throw new GpuUnavailableException($"the NVIDIA driver ({library.File}) finds no GPU it can use: cuInit: {status.Describe(Api)}");
        int version;
        Api.cuDriverGetVersion(&version).ThrowIfFailed(Api, "cuDriverGetVersion");
        Version = version;
    }

    /// <summary>Its functions.</summary>
    public DriverApi Api { get; }

    /// <summary>CUDA version it offers: 12040 for 12.4.</summary>
    public int Version { get; }

    /// <summary>The file it was loaded from, as far as the system tells.</summary>
    public string File => _library.File;

    /// <summary>Loads it, once for each file.</summary>
    /// <param name="file">The library; null searches.</param>
    /// <exception cref="GpuUnavailableException">There is none, or no GPU it can use.</exception>
    public static CudaDriver Load(string? file)
    {
        lock (s_gate)
        {
            var key = string.Join('\n', LibrarySearch.Driver.Candidates(file));
            if (s_loaded.TryGetValue(key, out var driver)) return driver;
            var library = SharedLibrary.Load(LibrarySearch.Driver, file);
            try
            {
                driver = new CudaDriver(library);
            }
            catch
            {
                library.Dispose();
                throw;
            }

            s_loaded.Add(key, driver);
            return driver;
        }
    }

    /// <summary>GPUs it sees.</summary>
    public int CountDevices()
    {
        int count;
        Api.cuDeviceGetCount(&count).ThrowIfFailed(Api, "cuDeviceGetCount");
        return count;
    }

    /// <summary>The CUdevice of an ordinal.</summary>
    public int Device(int ordinal)
    {
        int device;
        Api.cuDeviceGet(&device, ordinal).ThrowIfFailed(Api, "cuDeviceGet", $"GPU {ordinal}");
        return device;
    }

    /// <summary>A number about a device, see <see cref="DeviceAttribute"/>.</summary>
    public int Attribute(int device, int attribute)
    {
        int value;
        Api.cuDeviceGetAttribute(&value, attribute, device).ThrowIfFailed(Api, "cuDeviceGetAttribute");
        return value;
    }

    /// <summary>What it is, as listings show it.</summary>
    public CudaDeviceInfo Describe(int ordinal)
    {
        var device = Device(ordinal);
        nuint bytes;
        Api.cuDeviceTotalMem_v2(&bytes, device).ThrowIfFailed(Api, "cuDeviceTotalMem_v2");
        var name = stackalloc byte[256];
        Api.cuDeviceGetName(name, 256, device).ThrowIfFailed(Api, "cuDeviceGetName");
        var bus = stackalloc byte[32];
        Api.cuDeviceGetPCIBusId(bus, 32, device).ThrowIfFailed(Api, "cuDeviceGetPCIBusId");
        return new CudaDeviceInfo(
            ordinal,
            Text(name, 256),
            10 * Attribute(device, DeviceAttribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) + Attribute(device, DeviceAttribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
            Attribute(device, DeviceAttribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
            (long)bytes,
            Text(bus, 32));
    }

    private static string Text(byte* text, int capacity)
    {
        var bytes = new ReadOnlySpan<byte>(text, capacity);
        var end = bytes.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? bytes : bytes[..end]);
    }
}

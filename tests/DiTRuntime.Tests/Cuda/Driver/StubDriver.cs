using System.Runtime.InteropServices;
using System.Text;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Tests.Checkpoints;

namespace DiTRuntime.Tests.Cuda.Driver;

/// <summary>The stub of libcuda, built once, and what a test tells it and asks of it.</summary>
internal sealed unsafe class StubDriver
{
    private static readonly Lazy<StubDriver> s_instance = new(() => new StubDriver());
    private static readonly string[] s_kinds = ["context", "stream", "event", "module", "graph", "executable", "pool", "memory", "pinned"];
    private readonly nint _library;

    private StubDriver()
    {
        File = Build("libcuda_stub.c", "libcuda_stub.so");
        _library = NativeLibrary.Load(File);
    }

    /// <summary>The library, with everything as at the start.</summary>
    public static StubDriver Fresh()
    {
        var stub = s_instance.Value;
        // Handles that an earlier test left to the garbage collector.
        GC.Collect();
        GC.WaitForPendingFinalizers();
        ((delegate* unmanaged<void>)stub.Function("stub_reset"))();
        return stub;
    }

    public string File { get; }

    /// <summary>Calls with a handle that is gone, or without its context.</summary>
    public long Misuses => Count("stub_misuses");

    public long Trims => Count("stub_trims");

    public long Synchronizations => Count("stub_synchronizations");

    public long SharedRequests => Count("stub_shared_requests");

    /// <summary>Objects of any kind that are not given back.</summary>
    public string[] Alive => [.. s_kinds.Where(kind => Live(kind) != 0).Select(kind => $"{Live(kind)} {kind}")];

    /// <summary>The argument struct of the last launch, as the kernel gets it.</summary>
    public byte[] LastArguments
    {
        get
        {
            var bytes = new byte[4096];
            fixed (byte* p = bytes) return bytes[..(int)((delegate* unmanaged<byte*, nuint>)Function("stub_last_arguments"))(p)];
        }
    }

    public uint[] LastLaunch
    {
        get
        {
            var numbers = new uint[5];
            fixed (uint* p = numbers) ((delegate* unmanaged<uint*, void>)Function("stub_last_launch"))(p);
            return numbers;
        }
    }

    /// <summary>Compiles one of the stubs into a folder that goes away with the process.</summary>
    public static string Build(string source, string output, params string[] options)
    {
        var folder = new TestFolder();
        AppDomain.CurrentDomain.ProcessExit += (_, _) => folder.Dispose();
        HostC.Compile(Path.Combine(TestFiles.Root, "tests/DiTRuntime.Tests/Cuda/Driver/stub", source), folder[output], ["-shared", "-fvisibility=hidden", .. options]);
        return folder[output];
    }

    public CudaDevice Open() => CudaDevice.Open(0, File);

    /// <summary>A module with kernels of given names and argument sizes.</summary>
    public static KernelImage Image(string kernels) => new("stub.cu:" + kernels.Split(' ')[0], Encoding.ASCII.GetBytes(kernels + "\0"), string.Empty);

    public void FailNext(string call, int status, int skip = 0)
    {
        fixed (byte* name = Encoding.ASCII.GetBytes(call + "\0")) ((delegate* unmanaged<byte*, int, int, void>)Function("stub_fail_next"))(name, status, skip);
    }

    public long Live(string kind)
    {
        fixed (byte* name = Encoding.ASCII.GetBytes(kind + "\0")) return ((delegate* unmanaged<byte*, long>)Function("stub_live"))(name);
    }

    public void SetArchitecture(int value) => Set("stub_set_architecture", value);

    public void SetDeviceCount(int value) => Set("stub_set_device_count", value);

    public void SetPools(bool value) => Set("stub_set_pools", value ? 1 : 0);

    public void SetMemory(long bytes) => ((delegate* unmanaged<nuint, void>)Function("stub_set_memory"))((nuint)bytes);

    private void Set(string function, int value) => ((delegate* unmanaged<int, void>)Function(function))(value);

    private long Count(string function) => ((delegate* unmanaged<long>)Function(function))();

    private nint Function(string name) => NativeLibrary.GetExport(_library, name);
}

using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Devices.Emulated;

namespace DiTRuntime.Tests.Cuda.Emulator;

/// <summary>The emulated device as a device: memory, ownership, graphs, events, compilation.</summary>
public sealed class EmulatedDeviceTests
{
    private EmulatedDevice _device = null!;

    [SetUp]
    public void Create()
    {
        _ = TestDevice.Device; // Ignores the test where there is no compiler.
        _device = new EmulatedDevice(EmulatedKernels.Compiler, new EmulatedDeviceOptions { MemoryBytes = 1 << 20, ThreadCount = 1 });
    }

    [TearDown]
    public void Dispose() => _device?.Dispose();

    [Test]
    public void Memory_runs_out_at_its_limit_and_comes_back()
    {
        using (var first = _device.Allocate(600_000))
        {
            var refusal = Assert.Throws<GpuOutOfMemoryException>(() => _device.Allocate(600_000))!;
            Assert.That(refusal.Message, Does.Contain("600000").And.Contains("448576 of 1048576"));
            Assert.That(refusal.ExitCode, Is.EqualTo(ExitCode.OutOfMemory));
            Assert.That(_device.AllocatedBytes, Is.EqualTo(600_000));
            Assert.That(first.Pointer.Address % 256, Is.Zero);
        }

        Assert.That(_device.AllocatedBytes, Is.Zero);
        Assert.That(_device.Memory, Is.EqualTo(new GpuMemory(1 << 20, 1 << 20)));
        using var again = _device.Allocate(600_000);
    }

    [Test]
    public void New_memory_is_poisoned()
    {
        using var stream = _device.CreateStream();
        using var buffer = _device.Allocate(100);
        using var pinned = _device.AllocatePinned(100);
        stream.CopyToHost(buffer.Pointer, pinned, 0, 100);
        Assert.That(pinned.Bytes.ToArray(), Is.All.EqualTo(0xFF));
    }

    [Test]
    public void Copies_and_fills_stay_inside_buffers()
    {
        using var stream = _device.CreateStream();
        using var buffer = _device.Allocate(100);
        using var pinned = _device.AllocatePinned(200);
        Assert.That(() => stream.Fill(buffer.Pointer + 50, 0, 51), Throws.TypeOf<GpuException>().With.Message.Contains("a fill of 51 bytes out of bounds, at byte 50 of a buffer of 100 bytes"));
        Assert.That(() => stream.CopyToDevice(pinned, 0, buffer.Pointer, 101), Throws.TypeOf<GpuException>());
        Assert.That(() => stream.CopyToHost(buffer.Pointer + (-1), pinned, 0, 5), Throws.TypeOf<GpuException>().With.Message.Contains("1 bytes before"));
    }

    [Test]
    public void A_graph_replays_launches_copies_and_fills_with_the_arguments_it_was_given()
    {
        using var stream = _device.CreateStream();
        using var module = EmulatedKernels.Load(_device, "exchange.cu");
        using var buffer = _device.Allocate(4 + 4 * 256);
        using var copy = _device.Allocate(4);
        using var pinned = _device.AllocatePinned(4);
        var arguments = new OrderArguments { Next = buffer.Pointer, Order = buffer.Pointer + 4 };
        stream.Fill(buffer.Pointer, 0, 4);
        using var graph = stream.Capture(() =>
        {
            stream.Launch(module.Kernel("order_kernel"), new LaunchShape(1, 1, 1, 64, 0), arguments);
            stream.Copy(buffer.Pointer, copy.Pointer, 4);
            stream.CopyToHost(copy.Pointer, pinned, 0, 4);
        });
        arguments = default;
        Assert.That(graph.NodeCount, Is.EqualTo(3));

        stream.Launch(graph);
        stream.Launch(graph);
        stream.Synchronize();

        Assert.That(MemoryMarshal.Read<int>(pinned.Bytes), Is.EqualTo(128));
    }

    [Test]
    public void A_graph_that_cannot_be_captured_leaves_the_stream_usable()
    {
        using var stream = _device.CreateStream();
        Assert.Throws<InvalidOperationException>(() => stream.Capture(() => throw new InvalidOperationException()));
        Assert.Throws<GpuException>(() => stream.Capture(stream.Synchronize));
        Assert.DoesNotThrow(stream.Synchronize);
    }

    [Test]
    public void Events_measure_the_time_between()
    {
        using var stream = _device.CreateStream();
        using var start = _device.CreateEvent();
        using var end = _device.CreateEvent();
        Assert.Throws<GpuException>(() => end.MillisecondsSince(start));
        stream.Record(start);
        Thread.Sleep(5);
        stream.Record(end);
        stream.Wait(end);
        Assert.That(end.MillisecondsSince(start), Is.InRange(4, 5_000));
    }

    [Test]
    public void What_was_disposed_cannot_be_used_and_disposing_twice_is_harmless()
    {
        var stream = _device.CreateStream();
        var module = EmulatedKernels.Load(_device, "exchange.cu");
        var kernel = module.Kernel("order_kernel");
        var buffer = _device.Allocate(2048);
        var pinned = _device.AllocatePinned(16);
        var (pointer, shape) = (buffer.Pointer, new LaunchShape(1, 1, 1, 32, 0));
        module.Dispose();
        Assert.Throws<ObjectDisposedException>(() => stream.Launch(kernel, shape, new OrderArguments { Next = pointer, Order = pointer }));
        Assert.Throws<ObjectDisposedException>(() => module.Kernel("order_kernel"));

        foreach (var resource in new GpuResource[] { stream, module, buffer, pinned, stream, module, buffer, pinned }) resource.Dispose();

        Assert.Throws<ObjectDisposedException>(stream.Synchronize);
        Assert.Throws<ObjectDisposedException>(() => _ = buffer.Pointer);
        Assert.Throws<ObjectDisposedException>(() => _ = pinned.Bytes);
        Assert.That(_device.AllocatedBytes, Is.Zero);
    }

    [Test]
    public void A_device_disposed_before_what_it_gave_out_stops_it_and_nothing_breaks()
    {
        var stream = _device.CreateStream();
        var module = EmulatedKernels.Load(_device, "exchange.cu");
        var buffer = _device.Allocate(64);
        var pointer = buffer.Pointer;
        _device.Dispose();
        _device.Dispose();
        Assert.Throws<ObjectDisposedException>(() => _device.Allocate(1));
        Assert.Throws<ObjectDisposedException>(() => stream.Fill(pointer, 0, 64));
        buffer.Dispose();
        module.Dispose();
        stream.Dispose();
    }

    [Test]
    public void Source_that_does_not_compile_is_refused_with_the_compilers_words_and_work_goes_on()
    {
        var sources = new SortedDictionary<string, string>(KernelSources.All.ToDictionary(), StringComparer.Ordinal) { ["test/wrong.cu"] = "#include \"common/ptx.cuh\"\nint f() { return undeclared; }\n" };
        var compiler = new HostCompiler(sources);

        var refusal = Assert.Throws<KernelCompilationException>(() => compiler.Compile(new KernelSpec("test/wrong.cu", "wrong_kernel", ("N", 3))))!;

        Assert.That(refusal.Log, Does.Contain("test/wrong.cu:2").And.Contains("undeclared"));
        Assert.That(refusal.Message, Does.Contain("wrong_kernel N=3"));
        Assert.Throws<KernelCompilationException>(() => compiler.Compile(new KernelSpec("test/absent.cu", "absent_kernel")));
        using var module = EmulatedKernels.Load(_device, "exchange.cu");
        Assert.That(() => module.Kernel("absent_kernel"), Throws.TypeOf<GpuException>().With.Message.Contains("no kernel absent_kernel"));
    }

    [Test]
    public void Where_there_is_no_compiler_the_message_says_what_to_install()
    {
        var before = Environment.GetEnvironmentVariable("CXX");
        try
        {
            Environment.SetEnvironmentVariable("CXX", "/nonexistent/c++");
            var compiler = new HostCompiler();
            var refusal = Assert.Throws<GpuUnavailableException>(() => compiler.Compile(HostCompiler.Runtime))!;
            Assert.That(refusal.Message, Does.Contain("/nonexistent/c++"));
        }
        finally
        {
            Environment.SetEnvironmentVariable("CXX", before);
        }
    }

    [Test]
    public void An_image_that_is_no_library_is_refused() =>
        Assert.That(() => _device.Load(new KernelImage("broken", [1, 2, 3], "")), Throws.TypeOf<GpuException>().With.Message.Contains("broken cannot be loaded"));

    [StructLayout(LayoutKind.Sequential)]
    private struct OrderArguments
    {
        public DevicePointer Next;
        public DevicePointer Order;
    }
}

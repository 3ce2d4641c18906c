using System.Runtime.CompilerServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Tests.Cuda.Driver;

/// <summary>What goes wrong around a driver, over a stub of it.</summary>
[TestFixture]
[NonParallelizable]
internal sealed class DriverFaultTests
{
    private StubDriver _stub = null!;

    [SetUp]
    public void Start() => _stub = StubDriver.Fresh();

    [TearDown]
    public void Everything_is_given_back_and_no_dead_handle_used()
    {
        Environment.SetEnvironmentVariable("DIT_SYNC", null);
        Assert.That(_stub.Alive, Is.Empty);
        Assert.That(_stub.Misuses, Is.Zero);
    }

    [TestCase(true)]
    [TestCase(false)]
    public void Out_of_memory_in_the_middle_of_loading_leaks_nothing(bool pools)
    {
        _stub.SetPools(pools);
        _stub.SetMemory(4 << 20);
        var device = _stub.Open();
        var loaded = new List<GpuBuffer>();
        var error = Assert.Throws<GpuOutOfMemoryException>(() =>
        {
            while (true) loaded.Add(device.Allocate(3 << 19));
        })!;
        Assert.That(loaded, Has.Count.EqualTo(2));
        Assert.That(error.ExitCode, Is.EqualTo(ExitCode.OutOfMemory));
        Assert.That(error.Message, Does.Contain("1 MiB asked for, 1 of 4 MiB free").And.Contain("CUDA_ERROR_OUT_OF_MEMORY (2), out of memory"));
        foreach (var buffer in loaded) buffer.Dispose();
        using (device.Allocate(4 << 20)) Assert.That(_stub.Live("memory"), Is.EqualTo(1));
        device.Dispose();
    }

    [Test]
    public void Pool_in_pieces_is_trimmed_before_memory_is_refused()
    {
        using var device = _stub.Open();
        _stub.FailNext("cuMemAllocFromPoolAsync", 2);
        device.Allocate(1 << 20).Dispose();
        Assert.That(_stub.Trims, Is.EqualTo(1));
    }

    [TestCase("cuDevicePrimaryCtxRetain")]
    [TestCase("cuStreamCreate")]
    [TestCase("cuMemPoolCreate")]
    [TestCase("cuMemPoolSetAttribute")]
    [TestCase("cuDeviceGetAttribute")]
    public void Device_that_fails_to_open_leaves_nothing(string call)
    {
        for (var skip = 0; skip < (call == "cuDeviceGetAttribute" ? 6 : 1); skip++)
        {
            _stub.FailNext(call, 201, skip);
            Assert.That(() => _stub.Open(), Throws.InstanceOf<GpuException>().With.Message.Contains(call).And.Message.Contains("CUDA_ERROR_INVALID_CONTEXT (201), invalid device context"), $"call {skip}");
        }
    }

    [Test]
    public void Memory_whose_reservation_cannot_be_waited_for_is_given_back()
    {
        using var device = _stub.Open();
        _stub.FailNext("cuStreamSynchronize", 700);
        Assert.That(() => device.Allocate(100), Throws.InstanceOf<GpuException>().With.Message.Contains("CUDA_ERROR_ILLEGAL_ADDRESS"));
        Assert.That(_stub.Live("memory"), Is.Zero);
    }

    [Test]
    public void Launch_error_is_reported_at_the_launch_with_the_kernels_name()
    {
        using var device = _stub.Open();
        using var stream = device.CreateStream();
        using var module = device.Load(StubDriver.Image(StoreArguments.Kernel));
        using var buffer = device.Allocate(16);
        _stub.FailNext("cuLaunchKernel", 701);
        Assert.That(() => Store(stream, module, buffer), Throws.InstanceOf<GpuException>().With.Message.EqualTo(
            "store_kernel: cuLaunchKernel: CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES (701), too many resources requested for launch"));
    }

    [Test]
    public void Kernel_that_fails_while_running_is_reported_at_the_next_wait()
    {
        using var device = _stub.Open();
        using var stream = device.CreateStream();
        using var module = device.Load(StubDriver.Image(StoreArguments.Kernel));
        using var buffer = device.Allocate(16);
        _stub.FailNext("kernel", 700);
        Store(stream, module, buffer);
        Assert.That(stream.Synchronize, Throws.InstanceOf<GpuException>().With.Message.Contains("CUDA_ERROR_ILLEGAL_ADDRESS")
            .And.Message.Contains("last launched store_kernel").And.Message.Contains("DIT_SYNC=1"));
    }

    [Test]
    public void With_DIT_SYNC_it_is_reported_at_its_launch()
    {
        Environment.SetEnvironmentVariable("DIT_SYNC", "1");
        using var device = _stub.Open();
        using var stream = device.CreateStream();
        using var module = device.Load(StubDriver.Image(StoreArguments.Kernel));
        using var buffer = device.Allocate(16);
        var before = _stub.Synchronizations;
        Store(stream, module, buffer);
        Assert.That(_stub.Synchronizations, Is.EqualTo(before + 1));
        using (stream.Capture(() => Store(stream, module, buffer))) Assert.That(_stub.Synchronizations, Is.EqualTo(before + 1), "a capture cannot wait");
        _stub.FailNext("kernel", 700);
        Assert.That(() => Store(stream, module, buffer), Throws.InstanceOf<GpuException>().With.Message.StartsWith("store_kernel: cuStreamSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS"));
    }

    [Test]
    public void Kernel_that_the_module_has_not_is_named()
    {
        using var device = _stub.Open();
        using var module = device.Load(StubDriver.Image(StoreArguments.Kernel));
        Assert.That(() => module.Kernel("absent_kernel"), Throws.InstanceOf<GpuException>().With.Message.Contains("absent_kernel of stub.cu:store_kernel"));
    }

    [Test]
    public void Device_may_go_before_what_it_handed_out()
    {
        var device = _stub.Open();
        var all = new List<GpuResource>();
        var stream = device.CreateStream();
        var buffer = device.Allocate(16);
        var module = device.Load(StubDriver.Image(StoreArguments.Kernel));
        all.AddRange([module, buffer, device.AllocatePinned(16), device.CreateEvent(), stream.Capture(() => Store(stream, module, buffer)), stream]);
        device.Dispose();
        Assert.That(_stub.Live("context"), Is.Not.Zero, "the context goes with the last that needs it");
        foreach (var resource in all)
        {
            resource.Dispose();
            resource.Dispose();
        }
    }

    [Test]
    public void Module_of_a_graph_stays_until_the_graph_goes()
    {
        using var device = _stub.Open();
        using var stream = device.CreateStream();
        using var buffer = device.Allocate(16);
        var module = device.Load(StubDriver.Image(StoreArguments.Kernel));
        using (var graph = stream.Capture(() => Store(stream, module, buffer)))
        {
            module.Dispose();
            Assert.That(_stub.Live("module"), Is.EqualTo(1));
            stream.Launch(graph);
        }

        Assert.That(_stub.Live("module"), Is.Zero);
    }

    [Test]
    public void What_nobody_disposed_is_given_back_by_the_collector()
    {
        Abandon(_stub);
        for (var i = 0; i < 10 && _stub.Alive.Length > 0; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }

        [MethodImpl(MethodImplOptions.NoInlining)]
        static void Abandon(StubDriver stub)
        {
            var device = stub.Open();
            device.Allocate(100);
            device.AllocatePinned(100);
            device.CreateEvent();
            device.CreateStream();
            device.Load(StubDriver.Image(StoreArguments.Kernel));
        }
    }

    [Test]
    public void Use_after_disposal_is_refused()
    {
        var device = _stub.Open();
        var stream = device.CreateStream();
        var module = device.Load(StubDriver.Image(StoreArguments.Kernel));
        var kernel = module.Kernel("store_kernel");
        var (buffer, pinned, mark) = (device.Allocate(16), device.AllocatePinned(16), device.CreateEvent());
        var graph = stream.Capture(() => { });
        foreach (var resource in new GpuResource[] { buffer, pinned, mark, graph, module }) resource.Dispose();
        using (Assert.EnterMultipleScope())
        {
            Refused(() => _ = buffer.Pointer);
            Refused(() => _ = pinned.Bytes.Length);
            Refused(() => stream.Record(mark));
            Refused(() => stream.Launch(graph));
            Refused(() => module.Kernel("store_kernel"));
            Refused(() => stream.Launch(kernel, new LaunchShape(1, 1, 1, 32, 0), new StoreArguments()));
            stream.Dispose();
            Refused(stream.Synchronize);
            Refused(() => stream.Fill(default, 0, 1));
            device.Dispose();
            Refused(() => device.Allocate(16));
            Refused(() => _ = device.Memory);
            Refused(() => device.CreateStream());
        }

        static void Refused(Action use) => Assert.That(() => use(), Throws.InstanceOf<ObjectDisposedException>());
    }

    [Test]
    public void Resources_of_another_device_kind_are_refused()
    {
        using var device = _stub.Open();
        using var stream = device.CreateStream();
        using var foreign = new RecordingDevice(_stub.Open());
        using var mark = foreign.CreateEvent();
        Assert.That(() => stream.Record(mark), Throws.ArgumentException);
    }

    [Test]
    public void Unsupported_architecture_is_named()
    {
        _stub.SetArchitecture(75);
        var error = Assert.Throws<GpuUnavailableException>(() => _stub.Open())!;
        Assert.That(error.ExitCode, Is.EqualTo(ExitCode.Unsupported));
        Assert.That(error.Message, Does.Contain("Stub GPU").And.Contain("7.5").And.Contain("8.0"));
        Assert.That(CudaDevice.Probe(_stub.File).Devices.Single().Problem, Does.Contain("7.5"));
    }

    [Test]
    public void Ordinal_beyond_the_last_is_refused() =>
        Assert.That(() => CudaDevice.Open(1, _stub.File), Throws.InstanceOf<GpuUnavailableException>().With.Message.Contains("GPU 1").And.Message.Contains("sees 1"));

    private static void Store(GpuStream stream, GpuModule module, GpuBuffer buffer) =>
        stream.Launch(module.Kernel("store_kernel"), new LaunchShape(1, 1, 1, 32, 0), new StoreArguments { Destination = buffer.Pointer, Value = 5 });
}

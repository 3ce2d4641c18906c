using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Tests.Cuda.Driver;

/// <summary>The device's whole surface, over a stub of the driver.</summary>
[TestFixture]
[NonParallelizable]
internal sealed class CudaDeviceTests
{
    private StubDriver _stub = null!;

    [SetUp]
    public void Start() => _stub = StubDriver.Fresh();

    [TearDown]
    public void Everything_is_given_back_and_no_dead_handle_used()
    {
        Assert.That(_stub.Alive, Is.Empty);
        Assert.That(_stub.Misuses, Is.Zero);
    }

    [Test]
    public void Properties_are_the_drivers()
    {
        using var device = _stub.Open();
        Assert.That(device.Properties, Is.EqualTo(new GpuProperties("Stub GPU", 90, 132, 232448, 50 << 20, 12040, IsEmulated: false)));
    }

    [TestCase(true)]
    [TestCase(false)]
    public void Bytes_go_there_and_back(bool pools)
    {
        _stub.SetPools(pools);
        using var device = _stub.Open();
        using var stream = device.CreateStream();
        using var pinned = device.AllocatePinned(64);
        using var first = device.Allocate(48);
        using var second = device.Allocate(48);
        for (var i = 0; i < 32; i++) pinned.Bytes[i] = (byte)(i + 1);
        stream.Fill(second.Pointer, 0xAB, 48);
        stream.CopyToDevice(pinned, 8, first.Pointer, 16);
        stream.Copy(first.Pointer + 4, second.Pointer + 16, 8);
        stream.CopyToHost(second.Pointer + 12, pinned, 32, 16);
        stream.Synchronize();
        Assert.That(pinned.Bytes[32..48].ToArray(), Is.EqualTo(new byte[] { 0xAB, 0xAB, 0xAB, 0xAB, 13, 14, 15, 16, 17, 18, 19, 20, 0xAB, 0xAB, 0xAB, 0xAB }));
        Assert.That(first.ByteCount, Is.EqualTo(48));
    }

    [Test]
    public void Copies_beyond_pinned_memory_are_refused()
    {
        using var device = _stub.Open();
        using var stream = device.CreateStream();
        using var pinned = device.AllocatePinned(64);
        using var buffer = device.Allocate(64);
        Assert.That(() => stream.CopyToDevice(pinned, 1, buffer.Pointer, 64), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => stream.CopyToHost(buffer.Pointer, pinned, -1, 8), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => stream.CopyToHost(buffer.Pointer, pinned, 60, 5), Throws.InstanceOf<ArgumentOutOfRangeException>());
    }

    [Test]
    public void Argument_struct_arrives_byte_for_byte()
    {
        using var device = _stub.Open();
        using var stream = device.CreateStream();
        using var module = device.Load(StubDriver.Image(NestedArguments.Kernel));
        var arguments = new NestedArguments { First = 3, Inner = new() { Destination = new(0x123456789A), Value = -7 }, Scale = 1.5f, Last = new(ulong.MaxValue), End = -2 };
        stream.Launch(module.Kernel("nested_kernel"), new LaunchShape(5, 4, 3, 256, 1000), arguments);
        Assert.That(_stub.LastArguments, Is.EqualTo(MemoryMarshal.AsBytes(new ReadOnlySpan<NestedArguments>(in arguments)).ToArray()));
        Assert.That(_stub.LastLaunch, Is.EqualTo(new uint[] { 5, 4, 3, 256, 1000 }));
    }

    [Test]
    public void Argument_struct_of_another_size_is_refused()
    {
        using var device = _stub.Open();
        using var stream = device.CreateStream();
        using var module = device.Load(StubDriver.Image("other_kernel 24"));
        var kernel = module.Kernel("other_kernel");
        Assert.That(() => stream.Launch(kernel, new LaunchShape(1, 1, 1, 32, 0), new StoreArguments()),
            Throws.InstanceOf<GpuException>().With.Message.Contains("other_kernel").And.Message.Contains("24 bytes").And.Message.Contains("16"));
    }

    [Test]
    public void Launching_allocates_nothing()
    {
        using var device = _stub.Open();
        using var stream = device.CreateStream();
        using var module = device.Load(StubDriver.Image(StoreArguments.Kernel));
        using var buffer = device.Allocate(16);
        using var mark = device.CreateEvent();
        var kernel = module.Kernel("store_kernel");
        using var graph = stream.Capture(Once);
        Once();
        Replay();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 100; i++)
        {
            Once();
            Replay();
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);

        void Once() => stream.Launch(kernel, new LaunchShape(1, 1, 1, 32, 0), new StoreArguments { Destination = buffer.Pointer, Value = 1 });
        void Replay()
        {
            stream.Launch(graph);
            stream.Record(mark);
            stream.Wait(mark);
            stream.Copy(buffer.Pointer, buffer.Pointer + 8, 8);
            stream.Synchronize();
        }
    }

    [Test]
    public void Much_shared_memory_is_asked_for_once_a_kernel()
    {
        using var device = _stub.Open();
        using var stream = device.CreateStream();
        using var module = device.Load(StubDriver.Image(StoreArguments.Kernel));
        using var buffer = device.Allocate(16);
        var kernel = module.Kernel("store_kernel");
        var arguments = new StoreArguments { Destination = buffer.Pointer };
        stream.Launch(kernel, new LaunchShape(1, 1, 1, 32, 48 * 1024), arguments);
        Assert.That(_stub.SharedRequests, Is.Zero);
        stream.Launch(kernel, new LaunchShape(1, 1, 1, 32, 64 * 1024), arguments);
        stream.Launch(kernel, new LaunchShape(1, 1, 1, 32, 200 * 1024), arguments);
        Assert.That(_stub.SharedRequests, Is.EqualTo(1));
        Assert.That(() => stream.Launch(kernel, new LaunchShape(1, 1, 1, 32, 232448 - 1023), arguments),
            Throws.InstanceOf<GpuException>().With.Message.Contains("store_kernel").And.Message.Contains("shared memory"));
    }

    [Test]
    public void Resources_and_occupancy_are_the_drivers()
    {
        using var device = _stub.Open();
        using var module = device.Load(StubDriver.Image(StoreArguments.Kernel));
        var kernel = module.Kernel("store_kernel");
        Assert.That(kernel.Resources, Is.EqualTo(new KernelResources(40, 1024, 0)));
        Assert.That(kernel.Occupancy(128, 1024), Is.EqualTo(16));
        Assert.That(kernel.Occupancy(128, 200 * 1024), Is.EqualTo(1));
    }

    [Test]
    public void Captured_work_runs_when_it_is_replayed_and_not_before()
    {
        using var device = _stub.Open();
        using var stream = device.CreateStream();
        using var module = device.Load(StubDriver.Image(StoreArguments.Kernel));
        using var buffer = device.Allocate(16);
        using var pinned = device.AllocatePinned(16);
        var kernel = module.Kernel("store_kernel");
        stream.Fill(buffer.Pointer, 0, 16);
        using var graph = stream.Capture(() =>
        {
            stream.Launch(kernel, new LaunchShape(1, 1, 1, 32, 0), new StoreArguments { Destination = buffer.Pointer, Value = 77 });
            stream.Copy(buffer.Pointer, buffer.Pointer + 8, 4);
        });
        Assert.That(graph.NodeCount, Is.EqualTo(2));
        Assert.That(Read(), Is.EqualTo((0, 0)));
        stream.Launch(graph);
        Assert.That(Read(), Is.EqualTo((77, 77)));
        stream.Fill(buffer.Pointer, 0, 16);
        stream.Launch(graph);
        Assert.That(Read(), Is.EqualTo((77, 77)));

        (int, int) Read()
        {
            stream.CopyToHost(buffer.Pointer, pinned, 0, 16);
            stream.Synchronize();
            return (MemoryMarshal.Read<int>(pinned.Bytes), MemoryMarshal.Read<int>(pinned.Bytes[8..]));
        }
    }

    [Test]
    public void Capture_that_throws_leaves_a_usable_stream()
    {
        using var device = _stub.Open();
        using var stream = device.CreateStream();
        using var buffer = device.Allocate(16);
        Assert.That(() => stream.Capture(() => throw new InvalidOperationException("body")), Throws.InvalidOperationException.With.Message.EqualTo("body"));
        _stub.FailNext("cuStreamEndCapture", 901);
        Assert.That(() => stream.Capture(() => stream.Fill(buffer.Pointer, 0, 16)), Throws.InstanceOf<GpuException>().With.Message.Contains("CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"));
        _stub.FailNext("cuGraphInstantiateWithFlags", 2);
        Assert.That(() => stream.Capture(() => stream.Fill(buffer.Pointer, 0, 16)), Throws.InstanceOf<GpuOutOfMemoryException>());
        stream.Synchronize();
    }

    [Test]
    public void Events_tell_the_time_between_them()
    {
        using var device = _stub.Open();
        using var stream = device.CreateStream();
        using var other = device.CreateStream();
        using var start = device.CreateEvent();
        using var end = device.CreateEvent();
        using var buffer = device.Allocate(16);
        end.Synchronize();
        stream.Record(start);
        for (var i = 0; i < 3; i++) stream.Fill(buffer.Pointer, 1, 16);
        stream.Record(end);
        other.Wait(end);
        end.Synchronize();
        // The stub's clock counts operations.
        Assert.That(end.MillisecondsSince(start), Is.EqualTo(3f));
    }

    [Test]
    public void Idle_memory_of_the_pool_counts_as_free()
    {
        _stub.SetMemory(1 << 20);
        using var device = _stub.Open();
        device.Allocate(1 << 18).Dispose();
        Assert.That(device.Memory, Is.EqualTo(new GpuMemory(1 << 20, 1 << 20)));
        using var buffer = device.Allocate(1 << 18);
        Assert.That(device.Memory, Is.EqualTo(new GpuMemory((1 << 20) - (1 << 18), 1 << 20)));
    }
}

using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Tests.Cuda.Driver;

/// <summary>What the recorder writes down.</summary>
[TestFixture]
[NonParallelizable]
internal sealed class RecordingDeviceTests
{
    private StubDriver _stub = null!;

    [SetUp]
    public void Start() => _stub = StubDriver.Fresh();

    [TearDown]
    public void Everything_is_given_back()
    {
        Assert.That(_stub.Alive, Is.Empty);
        Assert.That(_stub.Misuses, Is.Zero);
    }

    [Test]
    public void Dump_tells_everything_and_no_address()
    {
        using var device = new RecordingDevice(_stub.Open());
        using var stream = device.CreateStream();
        using var side = device.CreateStream();
        using var mark = device.CreateEvent();
        using var pinned = device.AllocatePinned(64);
        using var first = device.Allocate(64);
        using var second = device.Allocate(32);
        using var module = device.Load(StubDriver.Image(StoreArguments.Kernel + " " + NestedArguments.Kernel));
        stream.CopyToDevice(pinned, 16, first.Pointer + 8, 8);
        stream.Fill(second.Pointer, 255, 32);
        using var graph = stream.Capture(() =>
        {
            stream.Launch(module.Kernel("store_kernel"), new LaunchShape(3, 2, 1, 64, 128), new StoreArguments { Destination = first.Pointer + 12, Value = 258 });
            stream.Copy(first.Pointer, second.Pointer + 4, 4);
        });
        stream.Launch(graph);
        stream.Record(mark);
        side.Wait(mark);
        side.Launch(module.Kernel("nested_kernel"), new LaunchShape(1, 1, 1, 32, 0), new NestedArguments
        {
            First = 9,
            Inner = new() { Destination = second.Pointer, Value = 1 },
            Scale = 1,
            Last = DevicePointer.Null,
            End = 2,
        });
        side.CopyToHost(second.Pointer, pinned, 32, 8);
        Assert.That(device.Dump(), Is.EqualTo(new[]
        {
            "buffer b0 bytes 64",
            "buffer b1 bytes 32",
            "graph g0",
            "  s0 launch store_kernel [stub.cu:store_kernel] grid 3x2x1 threads 64 shared 128 args <b0+12>0201000000000000",
            "  s0 copy b0+0 to b1+4 bytes 4",
            "s0 upload host b0+16 to b0+8 bytes 8",
            "s0 fill b1+0 value 255 bytes 32",
            "s0 replay g0",
            "s0 mark e0",
            "s1 wait e0",
            "s1 launch nested_kernel [stub.cu:store_kernel] grid 1x1x1 threads 32 shared 0 args "
                + "0900000000000000<b1+0>01000000000000000000803f00000000<null>0200000000000000",
            "s1 download b1+0 to host b0+32 bytes 8",
        }));
    }

    [Test]
    public void Wrapped_device_does_the_work()
    {
        using var device = new RecordingDevice(_stub.Open());
        using var stream = device.CreateStream();
        using var pinned = device.AllocatePinned(8);
        using var buffer = device.Allocate(8);
        using var module = device.Load(StubDriver.Image(StoreArguments.Kernel));
        stream.Launch(module.Kernel("store_kernel"), new LaunchShape(1, 1, 1, 32, 0), new StoreArguments { Destination = buffer.Pointer + 4, Value = 42 });
        stream.CopyToHost(buffer.Pointer, pinned, 0, 8);
        stream.Synchronize();
        Assert.That(MemoryMarshal.Read<int>(pinned.Bytes[4..]), Is.EqualTo(42));
    }

    [Test]
    public void Buffer_that_takes_another_ones_address_has_a_number_of_its_own()
    {
        using var device = new RecordingDevice(_stub.Open());
        using var stream = device.CreateStream();
        var gone = device.Allocate(4096);
        var address = gone.Pointer;
        gone.Dispose();
        using var buffer = device.Allocate(4096);
        Assert.That(buffer.Pointer, Is.EqualTo(address), "the stub gives the address again");
        gone.Dispose();
        stream.Fill(buffer.Pointer + 4095, 1, 1);
        Assert.That(device.Commands.Single().Text, Is.EqualTo("fill b1+4095 value 1 bytes 1"));
        Assert.That(device.Place(buffer.Pointer.Address + 4097), Is.EqualTo(new RecordedPlace(RecordedPlace.Foreign, 0)));
    }

    [Test]
    public void Pointers_in_bytes_of_unknown_type_are_found_by_value()
    {
        using var device = new RecordingDevice(_stub.Open());
        using var stream = device.CreateStream();
        using var buffer = device.Allocate(64);
        using var module = device.Load(StubDriver.Image(StoreArguments.Kernel));
        var arguments = new StoreArguments { Destination = buffer.Pointer + 8, Value = 7 };
        stream.Launch(module.Kernel("store_kernel"), new LaunchShape(1, 1, 1, 32, 0), MemoryMarshal.AsBytes(new ReadOnlySpan<StoreArguments>(in arguments)));
        var launch = (RecordedLaunch)device.Commands.Single();
        Assert.That(launch.Pointers, Is.EqualTo(new[] { new RecordedPointer(0, new RecordedPlace(0, 8)) }));
        Assert.That(launch.Arguments, Is.EqualTo(new byte[] { 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0 }));
    }

    [Test]
    public void What_failed_is_not_written_down()
    {
        using var device = new RecordingDevice(_stub.Open());
        using var stream = device.CreateStream();
        using var buffer = device.Allocate(64);
        _stub.FailNext("cuMemsetD8Async", 1);
        Assert.That(() => stream.Fill(buffer.Pointer, 0, 64), Throws.InstanceOf<GpuException>());
        Assert.That(() => stream.Capture(() =>
        {
            stream.Fill(buffer.Pointer, 0, 64);
            throw new InvalidOperationException();
        }), Throws.InvalidOperationException);
        stream.Fill(buffer.Pointer, 1, 64);
        Assert.That(device.Commands.Select(command => command.Text), Is.EqualTo(new[] { "fill b0+0 value 1 bytes 64" }));
        Assert.That(device.Graphs, Is.Empty);
        device.Clear();
        Assert.That(device.Commands, Is.Empty);
    }
}

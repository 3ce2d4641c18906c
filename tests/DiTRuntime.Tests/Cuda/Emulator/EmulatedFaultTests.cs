using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Devices.Emulated;

namespace DiTRuntime.Tests.Cuda.Emulator;

/// <summary>Every fault of kernels/faults.cu is reported in words that say what it is.</summary>
public sealed class EmulatedFaultTests
{
    private GpuModule? _module;

    [OneTimeSetUp]
    public void Compile() => _module = EmulatedKernels.Load(TestDevice.Device, "faults.cu");

    [OneTimeTearDown]
    public void Unload() => _module?.Dispose();

    [TestCase("missing_barrier_kernel", 64, "4 bytes of shared memory at", "with no block_sync ", ": race")]
    [TestCase("missing_warp_barrier_kernel", 64, "with no warp_sync or block_sync ", ": race")]
    [TestCase("overwritten_too_early_kernel", 64, "4 bytes of shared memory at", "with no block_sync ", ": race")]
    [TestCase("neighbouring_halves_kernel", 64, "2 bytes of shared memory at", "with no warp_sync or block_sync ", ": race")]
    [TestCase("two_writers_kernel", 64, "writes 4 bytes of shared memory at 0", "wrote too", "race")]
    [TestCase("matrix_load_without_barrier_kernel", 32, "shared memory", "no warp_sync or block_sync", "race")]
    [TestCase("read_out_of_bounds_kernel", 64, "thread 63 reads 4 bytes out of bounds, at byte 256 of a buffer of 256 bytes")]
    [TestCase("write_out_of_bounds_kernel", 64, "thread 0 writes 4 bytes out of bounds, at 4 bytes before a buffer of 256 bytes")]
    [TestCase("misaligned_kernel", 32, "reads 8 bytes misaligned, at byte 4 of a buffer of 256 bytes")]
    [TestCase("null_kernel", 32, "reads 4 bytes at a null pointer")]
    [TestCase("shared_out_of_bounds_kernel", 64, "thread 63 writes 4 bytes of shared memory at 512 out of bounds: the block has 512")]
    [TestCase("shared_misaligned_kernel", 64, "writes 4 bytes of shared memory", "misaligned")]
    [TestCase("never_written_kernel", 64, "thread 7 reads 4 bytes of shared memory at 28 that no thread has written yet")]
    [TestCase("copy_not_waited_for_kernel", 32, "reads 4 bytes of shared memory", "where a cp.async of thread", "has not been waited for")]
    [TestCase("copy_of_a_later_group_kernel", 32, "reads 4 bytes of shared memory at", "where a cp.async of thread", "has not been waited for")]
    [TestCase("copy_without_barrier_kernel", 32, "bytes of shared memory at", "with no warp_sync or block_sync ", ": race")]
    [TestCase("divergent_kernel", 64, "shuffle", "vote", "of its warp waits at", "divergent")]
    [TestCase("early_exit_kernel", 64, "shuffle", "exit", "40")]
    [TestCase("deadlock_kernel", 96, "waits at block_sync, but 1 of 3 warps have exited: deadlock")]
    public void A_planted_fault_is_reported(string entry, int threads, params string[] words)
    {
        var fault = Assert.Throws<GpuException>(() => Launch(entry, threads))!;

        Assert.That(fault.Message, Does.StartWith($"kernel {entry}, block (0,0,0), thread ").And.Not.Contains('\n'));
        foreach (var word in words) Assert.That(fault.Message, Does.Contain(word));
        if (!entry.StartsWith("early_exit", StringComparison.Ordinal)) Assert.That(fault.Message, Does.Match(@"\[test/faults\.cu:\d+\]$"));
        Assert.DoesNotThrow(() => Launch("sound_kernel", 64), "the device goes on");
    }

    [Test]
    public void A_read_that_begins_inside_a_buffer_and_ends_outside_is_reported()
    {
        using var input = TestDevice.Zeroed(248);
        using var output = TestDevice.Zeroed(256);

        var fault = Assert.Throws<GpuException>(() => Launch("wide_read_across_the_end_kernel", 32, input.Pointer, output.Pointer))!;

        Assert.That(fault.Message, Does.Contain("thread 15 reads 16 bytes out of bounds, at byte 240 of a buffer of 248 bytes"));
    }

    [Test]
    public void Memory_that_was_freed_is_reported()
    {
        using var output = TestDevice.Zeroed(256);
        var input = TestDevice.Zeroed(256);
        var stale = input.Pointer;
        input.Dispose();

        var fault = Assert.Throws<GpuException>(() => Launch("sound_kernel", 64, stale, output.Pointer))!;

        Assert.That(fault.Message, Does.Match("reads 4 bytes out of bounds, at byte [0-9]+ of a buffer of 256 bytes that was freed"));
    }

    [TestCase(0, 64, 512, "0 x 1 x 1 blocks")]
    [TestCase(1, 65, 512, "65 threads a block; it takes whole warps, up to 64 threads")]
    [TestCase(1, 96, 512, "96 threads a block")]
    [TestCase(1, 64, 300_000, "300000 bytes of shared memory a block; there are 232448")]
    public void A_launch_that_no_device_accepts_is_refused(int blocks, int threads, int sharedBytes, string words)
    {
        var shape = new LaunchShape(blocks, 1, 1, threads, sharedBytes);

        var fault = Assert.Throws<GpuException>(() => TestDevice.Stream.Launch(_module!.Kernel("sound_kernel"), shape, default(FaultArguments)))!;

        Assert.That(fault.Message, Does.StartWith("kernel sound_kernel cannot be launched").And.Contains(words));
    }

    [Test]
    public void An_argument_struct_of_another_size_is_refused() =>
        Assert.That(() => TestDevice.Stream.Launch(_module!.Kernel("sound_kernel"), new LaunchShape(1, 1, 1, 64, 512), 1L),
            Throws.TypeOf<GpuException>().With.Message.Contains("its argument struct has 16 bytes, not 8"));

    [Test]
    public void The_lowest_faulting_block_is_reported_whatever_the_threads([Values(1, 3)] int threadCount)
    {
        using var device = new EmulatedDevice(EmulatedKernels.Compiler, new EmulatedDeviceOptions { ThreadCount = threadCount });
        using var module = EmulatedKernels.Load(device, "faults.cu");
        using var stream = device.CreateStream();

        var fault = Assert.Throws<GpuException>(() => stream.Launch(module.Kernel("later_blocks_kernel"), new LaunchShape(5, 40, 1, 32, 0), default(FaultArguments)))!;

        Assert.That(fault.Message, Does.Contain("block (3,2,0)"));
    }

    [Test]
    public void Races_pass_where_the_checks_are_off_and_bounds_do_not()
    {
        using var device = new EmulatedDevice(EmulatedKernels.Compiler, new EmulatedDeviceOptions { SharedMemoryChecks = false });
        using var module = EmulatedKernels.Load(device, "faults.cu");
        using var stream = device.CreateStream();

        Assert.DoesNotThrow(() => stream.Launch(module.Kernel("two_writers_kernel"), new LaunchShape(1, 1, 1, 64, 512), default(FaultArguments)));
        Assert.Throws<GpuException>(() => stream.Launch(module.Kernel("two_writers_kernel"), new LaunchShape(1, 1, 1, 64, 0), default(FaultArguments)));
    }

    private void Launch(string entry, int threads)
    {
        using var input = TestDevice.Zeroed(256);
        using var output = TestDevice.Zeroed(256);
        Launch(entry, threads, input.Pointer, output.Pointer);
    }

    private void Launch(string entry, int threads, DevicePointer input, DevicePointer output) =>
        TestDevice.Stream.Launch(_module!.Kernel(entry), new LaunchShape(1, 1, 1, threads, entry.StartsWith("copy_of", StringComparison.Ordinal) ? 1024 : 512),
            new FaultArguments { Input = input, Output = output });

    [StructLayout(LayoutKind.Sequential)]
    private struct FaultArguments
    {
        public DevicePointer Input;
        public DevicePointer Output;
    }
}

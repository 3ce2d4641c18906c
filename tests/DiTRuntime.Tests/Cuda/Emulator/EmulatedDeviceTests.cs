using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Tests.Cuda.Emulator;

public sealed class EmulatedDeviceTests
{
    private const string Scale = """
        #include "common/ptx.cuh"
        struct scale_arguments { const f32* x; f32* y; s32 count; f32 factor; };
        DIT_KERNEL(scale_kernel, scale_arguments, 128) {
            const u32 i = block_x() * 128 + thread_index();
            shared_store(4 * thread_index(), i < (u32)args.count ? global_load(args.x + i) : 0.0f);
            block_sync();
            const f32 mirrored = shared_load<f32>(4 * (127 - thread_index()));
            const u32 j = block_x() * 128 + 127 - thread_index();
            if (j < (u32)args.count) global_store(args.y + j, args.factor * mirrored);
        }
        """;

    [Test]
    public void A_kernel_runs_over_several_blocks()
    {
        var x = Enumerable.Range(0, 1000).Select(i => (float)i).ToArray();
        using var input = TestDevice.Upload<float>(x);
        using var output = TestDevice.Zeroed(4 * x.Length);
        using var library = new KernelLibrary(TestDevice.Device, EmulatedKernels.Compiler(("test/scale.cu", Scale)));
        var kernel = library.Get(new KernelSpec("test/scale.cu", "scale_kernel"));

        TestDevice.Stream.Launch(kernel, new LaunchShape(8, 1, 1, 128, 512), new ScaleArguments { X = input.Pointer, Y = output.Pointer, Count = 1000, Factor = 3 });

        Assert.That(TestDevice.Download<float>(output, x.Length), Is.EqualTo(x.Select(v => 3 * v)));
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct ScaleArguments
    {
        public DevicePointer X;
        public DevicePointer Y;
        public int Count;
        public float Factor;
    }
}

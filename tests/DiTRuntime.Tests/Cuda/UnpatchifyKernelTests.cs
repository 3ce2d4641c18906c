using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Checkpoints;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Tests.Backends;

namespace DiTRuntime.Tests.Cuda;

[Category(TestDevice.Category)]
internal sealed class UnpatchifyKernelTests
{
    [TestCase(2, 8, 10, 2)]
    [TestCase(1, 3, 16, 4)]
    [TestCase(3, 1, 5, 1)]
    public void Matches_the_reference(int samples, int channels, int side, int patch)
    {
        using var random = new RandomWeights(43);
        var tokens = side / patch * (side / patch);
        var values = random.Values(samples * channels * side * side);
        using var reference = new ReferenceBackend();
        using var patches = reference.Allocate(ElementType.F32, samples, tokens, patch * patch * channels);
        using var images = reference.Allocate(ElementType.F32, samples, channels, side, side);
        reference.Upload<float>(values, patches);
        reference.Unpatchify(patches, images);
        var expected = new float[images.Count];
        reference.Download<float>(images, expected);

        using var from = TestDevice.Upload<float>(values);
        using var to = TestDevice.Device.Allocate(sizeof(float) * (long)values.Length);
        new UnpatchifyKernel(TestDevice.Library).Launch(TestDevice.Stream, new UnpatchifyArguments
        {
            Patches = from.Pointer,
            Output = to.Pointer,
            SampleCount = samples,
            Channels = channels,
            Side = side,
            Patch = patch,
        });
        Assert.That(TestDevice.Download<float>(to, values.Length), Is.EqualTo(expected));
    }
}

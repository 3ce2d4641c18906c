using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Checkpoints;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Tests.Backends;

namespace DiTRuntime.Tests.Cuda;

[Category(TestDevice.Category)]
internal sealed class SampleUpdateKernelTests
{
    [TestCase(4, 8)]
    [TestCase(3, 3)]
    public void Three_steps_match_the_reference(int channels, int outChannels)
    {
        using var random = new RandomWeights(45);
        using var reference = new ReferenceBackend();
        var scene = SamplerScene.Create(random, imageCount: 5, channels, outChannels, side: 10);
        var predictions = random.Values(scene.RowCount * outChannels * scene.Side * scene.Side);
        using var prediction = reference.Allocate(ElementType.F32, scene.RowCount, outChannels, scene.Side, scene.Side);
        using var latents = reference.Allocate(ElementType.F32, scene.ImageCount, channels, scene.Side, scene.Side);
        reference.Upload<float>(predictions, prediction);
        reference.Upload<float>(scene.Latents, latents);

        using var state = scene.Upload();
        using var onDevice = TestDevice.Upload<float>(predictions);
        var kernel = new SampleUpdateKernel(TestDevice.Library);
        var expected = new float[latents.Count];
        for (var step = 0; step < SamplerScene.Steps; step++)
        {
            // The same launch every time: only the counter tells the steps apart.
            kernel.Launch(TestDevice.Stream, new GuideAndUpdateArguments
            {
                Sampler = state.Sampler,
                Prediction = onDevice.Pointer,
                Channels = channels,
                OutChannels = outChannels,
                PlaneSize = scene.Side * scene.Side,
            });
            scene.Advance(reference, step, prediction, latents);
            reference.Download<float>(latents, expected);
            Assert.That(state.Counters, Is.EqualTo(new[] { step + 1, 0 }));
            // fp32 throughout; the reference rounds once, the kernel three times, and its exponential is good to 2 ulp.
            Assert.That(Relative.Error(state.Latents, expected), Is.LessThan(1e-6));
        }
    }
}

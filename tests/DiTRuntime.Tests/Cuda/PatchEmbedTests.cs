using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Checkpoints;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Backends;
using DiTRuntime.Tests.Quantization;

namespace DiTRuntime.Tests.Cuda;

/// <summary>patch_embed_kernel against the reference backend.</summary>
[Category(TestDevice.Category)]
public sealed class PatchEmbedTests
{
    // DiT's patches, with a ragged block of columns and of tokens; patches of one pixel and an odd depth; large ones without a bias.
    [TestCase(288, 4, 2, 10, true)]
    [TestCase(64, 3, 1, 3, true)]
    [TestCase(64, 1, 7, 14, false)]
    public void Matches_reference(int hidden, int channels, int patch, int side, bool hasBias)
    {
        int[] imageOfSample = [1, 0, 1];
        var (batch, tokens, depth) = (imageOfSample.Length, side / patch * (side / patch), channels * patch * patch);
        using var weights = new RandomWeights(3);
        var (weight, bias) = (weights.Values(hidden * depth), hasBias ? weights.Values(hidden) : null);
        var latents = Gaussian.Values(2 * channels * side * side, 1);
        var positions = Gaussian.Values(tokens * hidden, 2);

        using var latentBuffer = TestDevice.Upload<float>(latents);
        using var imageBuffer = TestDevice.Upload<int>(imageOfSample);
        using var weightBuffer = TestDevice.Upload<float>(weight);
        using var biasBuffer = TestDevice.Upload<float>(bias ?? [0]);
        using var positionBuffer = TestDevice.Upload<float>(positions);
        using var output = TestDevice.Device.Allocate(batch * tokens * hidden * 2);
        var input = new PatchEmbedInput(
            latentBuffer.Pointer, imageBuffer.Pointer, weightBuffer.Pointer, hasBias ? biasBuffer.Pointer : DevicePointer.Null, positionBuffer.Pointer, batch, channels, side, patch, hidden);
        new PatchEmbedKernel(TestDevice.Library).Launch(TestDevice.Stream, input, output.Pointer);
        var actual = TestDevice.DownloadHalf(output, batch * tokens * hidden);

        using var reference = new ReferenceBackend();
        using var latentTensor = reference.Allocate(ElementType.F32, 2, channels, side, side);
        using var imageTensor = reference.Allocate(ElementType.I32, batch);
        using var positionTensor = reference.Allocate(ElementType.F32, tokens, hidden);
        using var tokenTensor = reference.Allocate(ElementType.F32, batch, tokens, hidden);
        reference.Upload<float>(latents, latentTensor);
        reference.Upload<int>(imageOfSample, imageTensor);
        reference.Upload<float>(positions, positionTensor);
        var layer = reference.Prepare(new DenseWeight("layer", [weights.Tensor("layer.weight", weight, hidden, depth)], bias));
        reference.PatchEmbed(latentTensor, imageTensor, layer, positionTensor, tokenTensor);
        var expected = new float[actual.Length];
        reference.Download<float>(tokenTensor, expected);

        // A rounding to half of the sum, whose terms are of the order of one.
        for (var i = 0; i < actual.Length; i++) Assert.That(actual[i], Is.EqualTo(expected[i]).Within(Math.Abs(expected[i]) * 4.9e-4 + 1e-5), $"value {i}");
    }

    [Test]
    public void Shapes_it_cannot_take_are_refused()
    {
        Assert.That(() => PatchEmbedKernel.Spec(100, 4, 2), Throws.InstanceOf<GpuUnavailableException>().With.Message.Contains("not 100"));
        Assert.That(() => PatchEmbedKernel.Spec(64, 16, 8), Throws.InstanceOf<GpuUnavailableException>().With.Message.Contains("at most 512"));
    }
}

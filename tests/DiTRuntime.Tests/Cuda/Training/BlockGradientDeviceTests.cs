using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Backends.Training;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Calibration.Training;
using DiTRuntime.Checkpoints;
using DiTRuntime.Cuda.Benchmarks;
using DiTRuntime.Models;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Cuda.Engine;
using DiTRuntime.Tests.Quantization;

namespace DiTRuntime.Tests.Cuda.Training;

/// <summary>A whole block forward and back, on the device and on the CPU backend.</summary>
[Category(TestDevice.Category)]
internal sealed class BlockGradientDeviceTests
{
    private const int Samples = 2;

    // Three heads of 12, 25 tokens.
    private static readonly DiTConfig s_config = DiTConfigs.Parse("DiT-S/2") with { HiddenSize = 36, HeadCount = 3, MlpSize = 144, InputSize = 10, Depth = 1 };

    [Test]
    public void A_block_has_the_same_gradients_as_on_the_CPU()
    {
        using var cpu = CpuBackend.Create(new CpuOptions(ThreadCount: 2));
        using var device = EmulatedEngine.Create();
        var (expected, actual) = (Run(cpu), Run(device));
        using (Assert.EnterMultipleScope())
        {
            // Both compute in fp32, sums in another order: a dozen operations of some 1e-7 each.
            foreach (var name in expected.Keys) Assert.That(Relative.Error(actual[name], expected[name]), Is.LessThan(3e-6), name);
        }
    }

    private static Dictionary<string, float[]> Run(ITrainingBackend backend)
    {
        var (hidden, tokens) = (s_config.HiddenSize, s_config.TokenCount);
        using var block = new TrainingBlock(backend, s_config);
        var layers = new SyntheticLayers().Model(s_config, LayerFormat.Dense).Blocks[0];
        var weights = BlockLayers.Of(layers);
        for (var layer = 0; layer < TrainingBlock.LayerCount; layer++) block.Load(layer, weights[layer]);
        using var gradients = new BlockGradient(backend, s_config, Compatibility.Official, Samples);
        using var condition = Normal(1, Samples, hidden);
        using var input = Normal(2, Samples, tokens, hidden);
        using var output = Normal(3, Samples, tokens, hidden);
        using var gradient = Normal(4, Samples, tokens, hidden);
        gradients.Forward(block, condition, input, output);
        gradients.Backward(block, condition, input, gradient);

        var results = new Dictionary<string, float[]> { ["output"] = Read(output), ["input gradient"] = Read(gradient) };
        for (var layer = 0; layer < TrainingBlock.LayerCount; layer++)
        {
            var (weight, bias) = (new float[weights[layer].Outputs * weights[layer].Inputs], new float[weights[layer].Outputs]);
            block.ReadGradient(layer, weight, bias);
            results.Add($"weight of layer {layer}", weight);
            results.Add($"bias of layer {layer}", bias);
        }

        return results;

        Tensor Normal(int seed, params int[] shape)
        {
            var tensor = backend.Allocate(ElementType.F32, shape);
            backend.Upload<float>(Gaussian.Values(tensor.Count, seed), tensor);
            return tensor;
        }

        float[] Read(Tensor tensor)
        {
            var values = new float[tensor.Count];
            backend.Download<float>(tensor, values);
            return values;
        }
    }
}

using BenchmarkDotNet.Attributes;
using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Calibration.Training;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;

namespace DiTRuntime.Bench;

/// <summary>
/// One block of DiT-XL/2 forward and backward at 8 samples of 256 tokens, beside three forward passes of the engine through the same
/// block, which are as many multiply-adds: a linear layer's two gradients cost a product each. Synthetic weights.
/// </summary>
[Config(typeof(BenchmarkConfig))]
public class BlockGradientBenchmarks
{
    private const int Samples = 8;

    private readonly DiTConfig _config = DiTConfigs.Parse("DiT-XL/2");
    private CpuBackend _backend = null!;
    private DiTWeights _weights = null!;
    private DiTFrame _frame = null!;
    private DiTState _state = null!;
    private BlockStore _blocks = null!;
    private ModulationTable _table = null!;
    private TrainingBlock _block = null!;
    private BlockGradient _gradient = null!;
    private Tensor _condition = null!;
    private Tensor _input = null!;
    private Tensor _output = null!;

    [GlobalSetup]
    public void Setup()
    {
        _backend = CpuBackend.Create(new CpuOptions());
        var one = _config with { Depth = 1 };
        _weights = DiTWeightsLoader.Load(new SyntheticTensors(DiTLayout.Official.Tensors(one).Select(t => (t.Name, t.Shape))), new DiTLoadOptions { HeadCount = one.HeadCount });
        _frame = new DiTFrame(_weights, _backend, Compatibility.Official);
        _blocks = new BlockStore(_weights.Blocks, _backend, WeightResidency.All, null);
        _state = _frame.CreateState(Samples, Samples, _weights.Blocks);
        _backend.Upload<int>([.. Enumerable.Range(0, Samples)], _state.ModulationRowOfSample);
        _table = new ModulationTable(_backend, one, Samples);

        _block = new TrainingBlock(_backend, one);
        var layers = BlockLayers.Of(_weights.Blocks[0]);
        for (var layer = 0; layer < layers.Length; layer++) _block.Load(layer, layers[layer]);
        _gradient = new BlockGradient(_backend, one, Compatibility.Official, Samples);
        _condition = Random(Samples, one.HiddenSize);
        _input = Random(Samples, one.TokenCount, one.HiddenSize);
        _output = Random(Samples, one.TokenCount, one.HiddenSize);
        _backend.Copy(_input, _state.Tokens);
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        foreach (var resource in new IDisposable[] { _block, _gradient, _table, _state, _blocks, _frame, _weights, _backend }) resource.Dispose();
    }

    [Benchmark(Baseline = true, Description = "three engine passes")]
    public void EnginePasses()
    {
        for (var pass = 0; pass < 3; pass++)
        {
            var block = _blocks.Take(0);
            _frame.RunBlock(block, new Modulation(_table.Blocks[0], _state.ModulationRowOfSample), _state);
            _blocks.Return(block);
        }
    }

    [Benchmark(Description = "forward and backward")]
    public void ForwardAndBackward()
    {
        _gradient.Forward(_block, _condition, _input, _output);
        _gradient.Backward(_block, _condition, _input, _output);
    }

    private Tensor Random(params ReadOnlySpan<int> shape)
    {
        var tensor = _backend.Allocate(ElementType.F32, shape);
        var random = new Random(4);
        var values = new float[tensor.Count];
        foreach (ref var value in values.AsSpan()) value = 2 * random.NextSingle() - 1;
        _backend.Upload<float>(values, tensor);
        return tensor;
    }
}

using BenchmarkDotNet.Attributes;
using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Bench;

/// <summary>
/// Packed linear layers of DiT-XL/2 at M = 512, against as many 8-bit products in registers on the same threads. The norm that
/// makes the input, and its quantization in groups of 128, are part of the measured time; so is the norm before the fp32 layer.
/// </summary>
[Config(typeof(BenchmarkConfig))]
public class LowBitBenchmarks
{
    private const int Rows = 512;
    private const int Repetitions = 16;

    private readonly List<SyntheticGroupWeight> _weights = [];
    private CpuBackend _backend = null!;
    private Modulation _modulation;
    private Tensor _tokens = null!;
    private Tensor _output = null!;
    private (PreparedLinear Layer, Tensor Input) _w8a8, _w4a8, _fp32;

    [Params("3456x1152", "1152x1152", "4608x1152", "1152x4608")]
    public string Shape { get; set; } = "";

    private (int Outputs, int Inputs) Size => (int.Parse(Shape.Split('x')[0]), int.Parse(Shape.Split('x')[1]));

    [GlobalSetup]
    public void Setup()
    {
        var (outputs, inputs) = Size;
        _backend = CpuBackend.Create(new CpuOptions());
        using var tensors = new SyntheticTensors([("weight", [outputs, inputs]), ("tokens", [Rows, inputs]), ("table", [1, 2 * inputs])]);
        _tokens = Upload(tensors.Tensors[1], 1, Rows, inputs);
        _modulation = new Modulation(Upload(tensors.Tensors[2], 1, 2 * inputs), _backend.Allocate(ElementType.I32, 1));
        _output = _backend.Allocate(ElementType.F32, 1, Rows, outputs);
        _w8a8 = Packed(8);
        _w4a8 = Packed(4);
        _fp32 = (_backend.Prepare(new DenseWeight("layer", [tensors.Tensors[0]], new float[outputs])), _backend.Allocate(ElementType.F32, 1, Rows, inputs));

        (PreparedLinear Layer, Tensor Input) Packed(int bits)
        {
            var format = new ActivationFormat(128);
            _weights.Add(new SyntheticGroupWeight(outputs, inputs, new GroupFormat(bits, 128), format));
            return (_backend.Prepare(_weights[^1].Weight), _backend.AllocateActivations(format, 1, Rows, inputs));
        }
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _backend.Dispose();
        foreach (var weight in _weights) weight.Dispose();
    }

    [Benchmark(Baseline = true, Description = "VNNI peak", OperationsPerInvoke = Repetitions)]
    public int VnniRoof() => VnniPeak.Run((double)Repetitions * Rows * Size.Outputs * Size.Inputs, _backend.ThreadCount);

    [Benchmark(Description = "W8A8 g128", OperationsPerInvoke = Repetitions)]
    public void W8A8() => Run(_w8a8);

    [Benchmark(Description = "W4A8 g128", OperationsPerInvoke = Repetitions)]
    public void W4A8() => Run(_w4a8);

    [Benchmark(Description = "fp32", OperationsPerInvoke = Repetitions)]
    public void Fp32() => Run(_fp32);

    private void Run((PreparedLinear Layer, Tensor Input) layer)
    {
        for (var i = 0; i < Repetitions; i++)
        {
            _backend.NormModulate(_tokens, _modulation, 0, 1e-6f, layer.Input);
            _backend.Linear(layer.Input, layer.Layer, Epilogue.None, _output);
        }
    }

    private Tensor Upload(CheckpointTensor values, params ReadOnlySpan<int> shape)
    {
        var tensor = _backend.Allocate(ElementType.F32, shape);
        _backend.Upload<float>(values.ToArray(), tensor);
        return tensor;
    }
}

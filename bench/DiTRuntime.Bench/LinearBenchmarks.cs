using BenchmarkDotNet.Attributes;
using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Bench;

/// <summary>
/// fp32 linear layers of DiT-XL/2 at M = 512 (one guided image of 256 tokens), against as many multiply-adds in
/// registers on the same threads: "Of baseline" is the share of the machine's peak.
/// </summary>
[Config(typeof(BenchmarkConfig))]
public class LinearBenchmarks
{
    private const int Rows = 512;
    private const int Repetitions = 16;

    private CpuBackend _backend = null!;
    private PreparedLinear _layer = null!;
    private Tensor _input = null!;
    private Tensor _output = null!;

    [Params("3456x1152", "1152x1152", "4608x1152", "1152x4608")]
    public string Shape { get; set; } = "";

    private (int Outputs, int Inputs) Size => (int.Parse(Shape.Split('x')[0]), int.Parse(Shape.Split('x')[1]));

    [GlobalSetup]
    public void Setup()
    {
        var (outputs, inputs) = Size;
        using var tensors = new SyntheticTensors([("weight", [outputs, inputs]), ("input", [Rows, inputs])]);
        _backend = CpuBackend.Create(new CpuOptions());
        _layer = _backend.Prepare(new DenseWeight("layer", [tensors.Tensors[0]], new float[outputs]));
        _input = _backend.Allocate(ElementType.F32, Rows, inputs);
        _backend.Upload<float>(tensors.Tensors[1].ToArray(), _input);
        _output = _backend.Allocate(ElementType.F32, Rows, outputs);
    }

    [GlobalCleanup]
    public void Cleanup() => _backend.Dispose();

    [Benchmark(Baseline = true, Description = "FMA peak", OperationsPerInvoke = Repetitions)]
    public int FmaRoof() => FmaPeak.Run((double)Repetitions * Rows * Size.Outputs * Size.Inputs, _backend.ThreadCount);

    [Benchmark(Description = "Linear fp32", OperationsPerInvoke = Repetitions)]
    public void Linear()
    {
        for (var i = 0; i < Repetitions; i++) _backend.Linear(_input, _layer, Epilogue.None, _output);
    }
}

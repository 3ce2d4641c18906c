using BenchmarkDotNet.Attributes;
using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Bench;

/// <summary>
/// Codebook layers of DiT-XL/2 against the fp32 layer of the same shape: "Of baseline" above 100 % is faster than fp32. Layers take turns,
/// more of them than the last cache holds in fp32, as those of a model do. M = 512 is a guided image of 256 tokens, 1 a row of adaLN.
/// </summary>
[Config(typeof(BenchmarkConfig))]
public class CodebookBenchmarks
{
    private const int Repetitions = 16;

    private readonly Dictionary<string, PreparedLinear[]> _layers = [];
    private CpuBackend _backend = null!;
    private Tensor _input = null!, _quantized = null!, _output = null!;

    [Params("3456x1152", "1152x1152", "4608x1152", "1152x4608")]
    public string Shape { get; set; } = "";

    [Params(512, 64, 8, 1)]
    public int Rows { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        var (outputs, inputs) = (int.Parse(Shape.Split('x')[0]), int.Parse(Shape.Split('x')[1]));
        var activations = new ActivationFormat(128);
        using var tensors = new SyntheticTensors([("weight", [outputs, inputs]), ("input", [Rows, inputs])]);
        _backend = CpuBackend.Create(new CpuOptions());
        var product = new CodebookFormat(256, 8) { IsProduct = true, PoolSize = (outputs * inputs + 1023) / 1024 };
        Add(nameof(Fp32), _ => new DenseWeight("layer", [tensors.Tensors[0]], new float[outputs]));
        Add(nameof(TwoBits), seed => Weight(new CodebookFormat(256, 4) { HasRowScales = true }, seed));
        Add(nameof(ThreeBits), seed => Weight(new CodebookFormat(64, 2) { HasRowScales = true }, seed));
        Add(nameof(OneBit), seed => Weight(product, seed));
        Add(nameof(TwoBitsA8), seed => Weight(new CodebookFormat(256, 4) { HasRowScales = true }, seed, activations));
        _input = _backend.Allocate(ElementType.F32, 1, Rows, inputs);
        _backend.Upload<float>(tensors.Tensors[1].ToArray(), _input);
        _quantized = _backend.AllocateActivations(activations, 1, Rows, inputs);
        _backend.NormModulate(_input, new Modulation(_backend.Allocate(ElementType.F32, 1, 2 * inputs), _backend.Allocate(ElementType.I32, 1)), 0, 1e-6f, _quantized);
        _output = _backend.Allocate(ElementType.F32, 1, Rows, outputs);

        void Add(string name, Func<int, LinearWeight> weight) => _layers[name] = LayerCopies.Prepare(_backend, outputs, inputs, weight);
        CodebookWeight Weight(CodebookFormat format, int seed, ActivationFormat? activations = null) => RandomCodebook.Make(outputs, inputs, format, activations, seed);
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        foreach (var layer in _layers.Values.SelectMany(layers => layers)) layer.Dispose();
        _backend.Dispose();
    }

    [Benchmark(Baseline = true, Description = "fp32", OperationsPerInvoke = Repetitions)]
    public void Fp32() => Run(nameof(Fp32), _input);

    [Benchmark(Description = "k256 d4", OperationsPerInvoke = Repetitions)]
    public void TwoBits() => Run(nameof(TwoBits), _input);

    [Benchmark(Description = "k64 d2", OperationsPerInvoke = Repetitions)]
    public void ThreeBits() => Run(nameof(ThreeBits), _input);

    [Benchmark(Description = "pq k256 d8, pool", OperationsPerInvoke = Repetitions)]
    public void OneBit() => Run(nameof(OneBit), _input);

    [Benchmark(Description = "k256 d4, A8", OperationsPerInvoke = Repetitions)]
    public void TwoBitsA8() => Run(nameof(TwoBitsA8), _quantized);

    private void Run(string name, Tensor input)
    {
        var layers = _layers[name];
        for (var i = 0; i < Repetitions; i++) _backend.Linear(input, layers[i % layers.Length], Epilogue.None, _output);
    }
}

/// <summary>Layers that take turns: more of one shape than the last cache holds in fp32.</summary>
internal static class LayerCopies
{
    private const long CacheBytes = 96 << 20;

    /// <param name="backend">Where they run.</param>
    /// <param name="outputs">N.</param>
    /// <param name="inputs">K.</param>
    /// <param name="weight">Makes one, from its number.</param>
    public static PreparedLinear[] Prepare(CpuBackend backend, int outputs, int inputs, Func<int, LinearWeight> weight) =>
        [.. Enumerable.Range(0, (int)(CacheBytes / ((long)outputs * inputs * sizeof(float))) + 1).Select(i => backend.Prepare(weight(i)))];
}

/// <summary>A codebook weight of random codes and values: for timing.</summary>
internal static class RandomCodebook
{
    public static CodebookWeight Make(int outputs, int inputs, CodebookFormat format, ActivationFormat? activations, int seed)
    {
        var random = new Random(seed);
        var entries = format.BookCount(inputs) * format.CodebookSize;
        ushort[] codes = [.. Enumerable.Range(0, outputs * format.VectorsPerRow(inputs)).Select(_ => (ushort)random.Next(format.CodebookSize))];
        Half[] vectors = [.. Enumerable.Range(0, (format.PoolSize == 0 ? entries : format.PoolSize) * format.VectorLength).Select(_ => (Half)(0.04f * (random.NextSingle() - 0.5f)))];
        uint[] table = [.. Enumerable.Range(0, format.PoolSize == 0 ? 0 : entries).Select(_ => (uint)random.Next(format.PoolSize))];
        Half[]? scales = format.HasRowScales ? [.. Enumerable.Repeat((Half)1.1f, outputs)] : null;
        return CodebookWeight.Pack("layer", outputs, inputs, new float[outputs], format, codes, vectors, table, scales, activations);
    }
}

using BenchmarkDotNet.Attributes;
using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Checkpoints;
using DiTRuntime.Decoding;

namespace DiTRuntime.Bench;

/// <summary>
/// One guided step of DiT-XL/2 at 256×256 (two samples of 256 tokens), beside the time its linear layers take alone, and beside
/// decoding one 256×256 image with the published autoencoder's architecture; then the same step with packed weights in groups of
/// 128 and 8-bit activations. Synthetic weights.
/// </summary>
[Config(typeof(BenchmarkConfig))]
public class StepBenchmarks
{
    private CpuBackend _backend = null!;
    private XlModel _model = null!;
    private XlModel _w8a8 = null!;
    private XlModel _w4a8 = null!;
    private IImageDecoder _decoder = null!;
    private readonly List<(Tensor Input, PreparedLinear Layer, Tensor Output)> _linears = [];
    private readonly float[] _latent = new float[4 * 32 * 32];
    private readonly float[] _pixels = new float[256 * 256 * 3];

    [GlobalSetup]
    public void Setup()
    {
        _backend = CpuBackend.Create(new CpuOptions());
        _model = new XlModel(_backend);
        _w8a8 = new XlModel(_backend, weightBits: 8);
        _w4a8 = new XlModel(_backend, weightBits: 4);
        // The first step of a request also fills the conditioning table.
        foreach (var model in new[] { _model, _w8a8, _w4a8 }) model.Step();
        using (var tensors = SyntheticTensors.AutoencoderKl()) _decoder = ImageDecoders.Create(tensors, _backend);
        var random = new Random(3);
        foreach (ref var value in _latent.AsSpan()) value = 2 * random.NextSingle() - 1;

        // Every layer has weights of its own, as in the model: 2.7 GB that no cache holds.
        const int rows = 512;
        (int Outputs, int Inputs)[] shapes = [(3456, 1152), (1152, 1152), (4608, 1152), (1152, 4608)];
        using var layerTensors = new SyntheticTensors(shapes.Select(s => ($"{s.Outputs}x{s.Inputs}", new[] { s.Outputs, s.Inputs })));
        var tensorsOf = shapes.Select(s => (_backend.Allocate(ElementType.F32, rows, s.Inputs), _backend.Allocate(ElementType.F32, rows, s.Outputs))).ToArray();
        for (var block = 0; block < _model.Config.Depth; block++)
            for (var i = 0; i < shapes.Length; i++)
            {
                var weight = new Quantization.DenseWeight("layer", [layerTensors.Tensors[i]], new float[shapes[i].Outputs]);
                _linears.Add((tensorsOf[i].Item1, _backend.Prepare(weight), tensorsOf[i].Item2));
            }
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _decoder.Dispose();
        foreach (var model in new[] { _model, _w8a8, _w4a8 }) model.Dispose();
        _backend.Dispose();
    }

    [Benchmark(Baseline = true, Description = "linear layers alone")]
    public void Linears()
    {
        foreach (var (input, layer, output) in _linears) _backend.Linear(input, layer, Epilogue.None, output);
    }

    [Benchmark(Description = "guided step fp32")]
    public void Step() => _model.Step();

    [Benchmark(Description = "guided step W8A8 g128")]
    public void StepW8A8() => _w8a8.Step();

    [Benchmark(Description = "guided step W4A8 g128")]
    public void StepW4A8() => _w4a8.Step();

    [Benchmark(Description = "decode 256x256")]
    public void Decode() => _decoder.Decode(_latent, 32, 32, _pixels);
}

using BenchmarkDotNet.Attributes;
using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Bench;

/// <summary>
/// Nearest codewords of as many vectors as the adaLN layer of a DiT-XL/2 block has: 1.99 million of 4 weights, 256 codewords. One call is what an iteration of k-means takes its time for;
/// the baseline is a plain loop over a sixteenth of the points, sixteen times.
/// </summary>
[Config(typeof(BenchmarkConfig))]
public class KMeansBenchmarks
{
    private const int Points = 6912 * 1152 / Length, Codewords = 256, Length = 4, Part = 16;

    private readonly float[] _points = new float[Points * Length];
    private readonly float[] _codewords = new float[Codewords * Length];
    private CpuBackend _backend = null!;
    private Tensor _pointTensor = null!, _weights = null!, _codewordTensor = null!, _codes = null!, _distances = null!;

    [GlobalSetup]
    public void Setup()
    {
        var random = new Random(1);
        foreach (ref var value in _points.AsSpan()) value = random.NextSingle() + random.NextSingle() - 1;
        foreach (ref var value in _codewords.AsSpan()) value = random.NextSingle() + random.NextSingle() - 1;
        _backend = CpuBackend.Create(new CpuOptions());
        (_pointTensor, _weights, _codewordTensor) = (Upload(_points), Upload([.. _points.Select(MathF.Abs)]), Upload(_codewords));
        (_codes, _distances) = (_backend.Allocate(ElementType.I32, Points), _backend.Allocate(ElementType.F32, Points));
    }

    [GlobalCleanup]
    public void Cleanup() => _backend.Dispose();

    [Benchmark(Baseline = true, Description = "plain loop, one thread")]
    public long Plain()
    {
        long sum = 0;
        for (var repetition = 0; repetition < Part; repetition++)
        {
            for (var p = 0; p < Points / Part * Length; p += Length)
            {
                var (best, code) = (float.PositiveInfinity, 0);
                for (var c = 0; c < Codewords; c++)
                {
                    float distance = 0;
                    for (var i = 0; i < Length; i++)
                    {
                        var delta = _points[p + i] - _codewords[c * Length + i];
                        distance += delta * delta;
                    }

                    if (distance < best) (best, code) = (distance, c);
                }

                sum += code;
            }
        }

        return sum;
    }

    [Benchmark(Description = "nearest codewords")]
    public void Nearest() => _backend.AssignNearest(_pointTensor, null, _codewordTensor, _codes, _distances);

    [Benchmark(Description = "nearest codewords, weighted")]
    public void Weighted() => _backend.AssignNearest(_pointTensor, _weights, _codewordTensor, _codes, _distances);

    private Tensor Upload(float[] values)
    {
        var tensor = _backend.Allocate(ElementType.F32, values.Length / Length, Length);
        _backend.Upload<float>(values, tensor);
        return tensor;
    }
}

using System.Diagnostics;
using System.Globalization;
using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Bench;

/// <summary>
/// Codebook layers of DiT-XL/2 against fp32, call by call in turn: where neighbours take a machine's time by the second, each benchmark alone meets others of them, and ratios of a few percent mean
/// nothing. Layers take turns as in <see cref="CodebookBenchmarks"/>.
/// </summary>
internal static class LayerPairs
{
    private const int WarmupRounds = 10;

    private static readonly (int Outputs, int Inputs)[] s_shapes = [(3456, 1152), (1152, 1152), (4608, 1152), (1152, 4608)];
    private static readonly (string Name, CodebookFormat Format)[] s_formats =
    [
        ("k256 d4", new CodebookFormat(256, 4) { HasRowScales = true }), ("k64 d2", new CodebookFormat(64, 2) { HasRowScales = true }), ("k256 d8", new CodebookFormat(256, 8)),
    ];

    /// <summary>Prints a table.</summary>
    /// <param name="rows">M.</param>
    /// <param name="rounds">Pairs of calls.</param>
    public static void Run(int rows, int rounds)
    {
        using var backend = CpuBackend.Create(new CpuOptions());
        Console.WriteLine("| layer | M | format | fp32, µs | codebook, µs | fp32 / codebook: median of the pairs | quarters |");
        Console.WriteLine("|---|---:|---|---:|---:|---:|---:|");
        foreach (var (outputs, inputs) in s_shapes)
        {
            using var tensors = new SyntheticTensors([("weight", [outputs, inputs]), ("input", [rows, inputs])]);
            using var input = backend.Allocate(ElementType.F32, 1, rows, inputs);
            using var output = backend.Allocate(ElementType.F32, 1, rows, outputs);
            backend.Upload<float>(tensors.Tensors[1].ToArray(), input);
            var dense = LayerCopies.Prepare(backend, outputs, inputs, _ => new DenseWeight("layer", [tensors.Tensors[0]], new float[outputs]));
            foreach (var (name, format) in s_formats)
            {
                var packed = LayerCopies.Prepare(backend, outputs, inputs, seed => RandomCodebook.Make(outputs, inputs, format, activations: null, seed));
                var (first, second) = (new double[rounds], new double[rounds]);
                for (var round = -WarmupRounds; round < rounds; round++)
                {
                    double a, b;
                    // Who comes second may find the input in a cache.
                    if (round % 2 == 0) (a, b) = (Time(dense, round), Time(packed, round));
                    else (b, a) = (Time(packed, round), Time(dense, round));
                    if (round >= 0) (first[round], second[round]) = (a, b);
                }

                double[] ratios = [.. first.Zip(second, (a, b) => a / b).Order()];
                Console.WriteLine(string.Create(
                    CultureInfo.InvariantCulture,
                    $"| {outputs}×{inputs} | {rows} | {name} | {Middle(first):0.0} | {Middle(second):0.0} | {ratios[rounds / 2]:0.000} | {ratios[rounds / 4]:0.000}, {ratios[rounds * 3 / 4]:0.000} |"));
                foreach (var layer in packed) layer.Dispose();
            }

            foreach (var layer in dense) layer.Dispose();

            double Time(PreparedLinear[] layers, int round)
            {
                var start = Stopwatch.GetTimestamp();
                backend.Linear(input, layers[(round + WarmupRounds) % layers.Length], Epilogue.None, output);
                return Stopwatch.GetElapsedTime(start).TotalMicroseconds;
            }
        }
    }

    private static double Middle(double[] values) => values.Order().ElementAt(values.Length / 2);
}

using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Backends.Cpu.LowBit;
using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Backends;

/// <summary>Products of codebook weights on the CPU: the bits of the dense product of the same values, and integer products against the reference.</summary>
[TestFixture]
internal sealed class CodebookLinearTests
{
    private static readonly (IntegerPath Path, int Bits, int Threads)[] s_variants =
    [
        (IntegerPath.Avx512, 512, 2), (IntegerPath.AvxVnni, 256, 1), (IntegerPath.Avx2, 512, 2), (IntegerPath.Avx2, 128, 3), (IntegerPath.Portable, 256, 1),
    ];

    /// <summary>Every vector length, code widths of 1 to 16 bits, k that are no powers of two, parts, positions, pools and row scales; K no multiple of any block.</summary>
    private static readonly (CodebookFormat Format, int Outputs, int Inputs)[] s_shapes =
    [
        (new(256, 4), 96, 1156), (new(256, 4) { Parts = 3, HasRowScales = true }, 51, 2308), (new(64, 2) { HasRowScales = true }, 49, 70), (new(2, 2), 8, 1154),
        (new(3, 3), 7, 1155), (new(129, 5) { HasRowScales = true }, 25, 1165), (new(1000, 6) { Parts = 2 }, 50, 582), (new(4096, 7), 47, 1141),
        (new(65_536, 8) { HasRowScales = true }, 17, 136), (new(20_000, 3), 9, 99), (new(300, 2), 16, 34), (new(513, 4), 13, 44), (new(2000, 5), 11, 65), (new(9000, 6), 5, 66),
        (new(256, 8) { IsProduct = true }, 51, 264), (new(256, 8) { IsProduct = true, PoolSize = 300, HasRowScales = true }, 97, 1160),
        (new(16, 2) { IsProduct = true }, 33, 1166), (new(5, 3) { IsProduct = true, PoolSize = 11 }, 12, 39), (new(600, 4) { IsProduct = true, PoolSize = 70_000 }, 10, 480),
    ];

    [Test]
    public void Product_has_the_bits_of_the_dense_product_of_the_same_values([ValueSource(nameof(s_shapes))] (CodebookFormat Format, int Outputs, int Inputs) shape, [Values(1, 13)] int rows)
    {
        using var weights = new RandomWeights(shape.Outputs);
        var (weight, values) = weights.Codebook(shape.Outputs, shape.Inputs, shape.Format);
        var dense = new DenseWeight("layer", [weights.Tensor("layer.weight", values, shape.Outputs, shape.Inputs)], weight.Bias);
        var input = weights.Values(rows * shape.Inputs);
        foreach (var (_, bits, threads) in s_variants)
        {
            using var backend = CpuBackend.Create(new CpuOptions(threads, bits));
            Assert.That(Linear(backend, weight, input, rows), Is.EqualTo(Linear(backend, dense, input, rows)), $"{bits} bits");
        }
    }

    [Test]
    public void Weight_in_memory_gives_the_same_product()
    {
        using var weights = new RandomWeights(4);
        using var backend = CpuBackend.Create(new CpuOptions(1));
        var (weight, _) = weights.Codebook(30, 72, new CodebookFormat(40, 3) { HasRowScales = true });
        var input = weights.Values(5 * 72);
        Assert.That(Linear(backend, weight.ToMemory(), input, 5), Is.EqualTo(Linear(backend, weight, input, 5)));
    }

    [Test]
    public void Integer_product_is_the_exact_one([ValueSource(nameof(s_shapes))] (CodebookFormat Format, int Outputs, int Inputs) shape, [Values(0, 1, 9)] int vectorsOfGroup, [Values(1, 13)] int rows)
    {
        using var weights = new RandomWeights(shape.Inputs);
        var group = vectorsOfGroup * 2 * shape.Format.VectorLength;
        var (weight, values) = weights.Codebook(shape.Outputs, shape.Inputs, shape.Format, new ActivationFormat(group));
        var input = weights.Values(rows * shape.Inputs, 3);
        var table = weights.Values(2 * shape.Inputs);
        float[]? first = null;
        foreach (var (path, bits, threads) in s_variants)
        {
            if (!CpuBackend.IsAvailable(path)) continue;
            using var backend = CpuBackend.Create(new CpuOptions(threads, bits, path));
            using var x = Normalized(backend, input, table, rows, shape.Inputs, weight.Activations);
            using var y = backend.Allocate(ElementType.F32, 1, rows, shape.Outputs);
            backend.Linear(x, backend.Prepare(weight), Epilogue.None, y);
            var actual = CpuBackendTests.Read(backend, y);
            if (first is null)
            {
                // The sums in double, from the codes that the backend itself made of the input: what is left is fp32's rounding of groups' sums.
                var expected = Exact((CpuActivations)x, weight, values);
                Assert.That(Relative.Error(actual, expected), Is.LessThanOrEqualTo(2e-6), $"{path}, {bits} bits");
            }

            first ??= actual;
            Assert.That(actual.AsSpan().SequenceEqual(first), $"{path}, {bits} bits: other bits");
        }
    }

    [Test]
    public void Integer_product_matches_the_reference([Values(0, 32)] int group)
    {
        using var weights = new RandomWeights(8);
        var (weight, _) = weights.Codebook(70, 96, new CodebookFormat(256, 4) { HasRowScales = true }, new ActivationFormat(group));
        var input = weights.Values(9 * 96, 3);
        var table = weights.Values(2 * 96);
        float[] Run(IDiTBackend backend)
        {
            using var x = Normalized(backend, input, table, 9, 96, weight.Activations);
            using var y = backend.Allocate(ElementType.F32, 1, 9, 70);
            backend.Linear(x, backend.Prepare(weight), Epilogue.None, y);
            return CpuBackendTests.Read(backend, y);
        }

        using var reference = new ReferenceBackend();
        using var backend = CpuBackend.Create(new CpuOptions(2));
        // An input on a rounding boundary may fall to the neighbouring code where the norms differ in the last bit.
        Assert.That(Relative.Error(Run(backend), Run(reference)), Is.LessThanOrEqualTo(1e-3));
    }

    [Test]
    public void Nothing_is_expanded_when_a_layer_is_prepared()
    {
        using var weights = new RandomWeights(9);
        var (weight, _) = weights.Codebook(2304, 1152, new CodebookFormat(256, 4) { HasRowScales = true });
        using var backend = CpuBackend.Create(new CpuOptions(1));
        var before = GC.GetAllocatedBytesForCurrentThread();
        using var layer = backend.Prepare(weight);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(layer, Is.Not.InstanceOf<CpuLinear>());
            Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(20_000));
        }
    }

    private static float[] Linear(CpuBackend backend, LinearWeight weight, float[] input, int rows)
    {
        using var layer = backend.Prepare(weight);
        using var y = backend.Allocate(ElementType.F32, rows, weight.Outputs);
        backend.Linear(CpuBackendTests.Upload(backend, input, rows, weight.Inputs), layer, Epilogue.None, y);
        return CpuBackendTests.Read(backend, y);
    }

    private static Tensor Normalized(IDiTBackend backend, float[] tokens, float[] table, int rows, int width, ActivationFormat? format)
    {
        var x = backend.AllocateActivations(format, 1, rows, width);
        var modulation = new Modulation(CpuBackendTests.Upload(backend, table, 1, 2 * width), CpuBackendTests.Upload(backend, [0]));
        backend.NormModulate(CpuBackendTests.Upload(backend, tokens, 1, rows, width), modulation, 0, 1e-6f, x);
        return x;
    }

    /// <summary>y = Σ s_x (q_x − Z_x) · s t round(C/t) + b.</summary>
    private static unsafe float[] Exact(CpuActivations x, CodebookWeight weight, float[] values)
    {
        double t = weight.IntegerScale;
        var y = new float[x.RowCount * weight.Outputs];
        for (var row = 0; row < x.RowCount; row++)
            for (var n = 0; n < weight.Outputs; n++)
            {
                double sum = weight.Bias![n];
                for (var k = 0; k < weight.Inputs; k++)
                {
                    var at = k / x.Grid.Size * x.RowStride + row;
                    var c = values[n * weight.Inputs + k] / weight.RowScale(n);
                    sum += (double)x.Scales[at] * (x.Codes[row * x.CodeStride + k] - x.Zeros[at]) * weight.RowScale(n) * t * Math.Round((float)(Half)c / (float)t);
                }

                y[row * weight.Outputs + n] = (float)sum;
            }

        return y;
    }
}

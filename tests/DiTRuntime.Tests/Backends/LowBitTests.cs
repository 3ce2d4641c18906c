using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Backends.Cpu.LowBit;
using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Backends;

/// <summary>Packed layers and quantized activations on the CPU: against the reference, and the same bits on every path and width.</summary>
[TestFixture]
internal sealed class LowBitTests
{
    private static readonly (IntegerPath Path, int Bits, int Threads)[] s_variants =
    [
        (IntegerPath.Avx512, 512, 2), (IntegerPath.AvxVnni, 512, 1), (IntegerPath.AvxVnni, 128, 3), (IntegerPath.Avx2, 256, 2), (IntegerPath.Portable, 512, 2), (IntegerPath.Portable, 128, 1),
    ];

    [Test]
    public void Group_linear_matches_the_reference(
        [Values(2, 3, 4, 5, 6, 8)] int bits, [Values(0, 32, 96, 128)] int groupSize, [Values(1, 13, 50)] int rows, [Values(16, 41)] int outputs, [Values(96, 301)] int inputs)
    {
        using var weights = new RandomWeights(bits + groupSize + rows + outputs);
        var layer = weights.Group(outputs, inputs, new GroupFormat(bits, groupSize), new ActivationFormat(groupSize));
        var (tokens, table) = Tokens(weights, rows, inputs);
        Compare(backend =>
        {
            var x = Normalized(backend, tokens, table, rows, inputs, layer.Activations);
            var y = backend.Allocate(ElementType.F32, 1, rows, outputs);
            backend.Linear(x, backend.Prepare(layer), Epilogue.None, y);
            return y;
        });
    }

    [Test]
    public void Gelu_is_quantized_for_the_next_layer([Values(0, 32, 96, 128)] int groupSize, [Values(4, 8)] int bits, [Values(5, 70)] int rows)
    {
        using var weights = new RandomWeights(3 + groupSize);
        var format = new ActivationFormat(groupSize);
        var first = weights.Group(288, 96, new GroupFormat(bits, 32), new ActivationFormat(32));
        var second = weights.Group(40, 288, new GroupFormat(bits, groupSize), format);
        var (tokens, table) = Tokens(weights, rows, 96);
        Compare(
            backend =>
            {
                var x = Normalized(backend, tokens, table, rows, 96, first.Activations);
                var hidden = backend.AllocateActivations(format, 1, rows, 288);
                backend.Linear(x, backend.Prepare(first), Epilogue.Activate(Activation.GeluTanh), hidden);
                var y = backend.Allocate(ElementType.F32, 1, rows, 40);
                backend.Linear(hidden, backend.Prepare(second), Epilogue.None, y);
                return y;
            },
            // A value next to a rounding boundary may fall to the other code where the inputs differ in the last bit.
            tolerance: 2e-3);
    }

    [Test]
    public void Gated_residual_matches_the_reference([Values(4, 8)] int bits)
    {
        using var weights = new RandomWeights(21);
        var layer = weights.Group(40, 64, new GroupFormat(bits, 32), new ActivationFormat(32));
        var (tokens, table) = Tokens(weights, 11, 64);
        var before = weights.Values(11 * 40);
        var gates = weights.Values(3 * 40);
        Compare(backend =>
        {
            var x = Normalized(backend, tokens, table, 11, 64, layer.Activations);
            var y = CpuBackendTests.Upload(backend, before, 1, 11, 40);
            var modulation = new Modulation(CpuBackendTests.Upload(backend, gates, 1, 120), CpuBackendTests.Upload(backend, [0]));
            backend.Linear(x, backend.Prepare(layer), Epilogue.GatedResidual(modulation, 2), y);
            return y;
        });
    }

    [Test]
    public void Weight_only_matches_the_reference([Values(2, 3, 4, 5, 6, 8)] int bits, [Values(0, 32, 200)] int groupSize, [Values(1, 9)] int rows, [Values(48, 70)] int outputs)
    {
        using var weights = new RandomWeights(bits);
        var layer = weights.Group(outputs, 1300, new GroupFormat(bits, groupSize), null);
        var input = weights.Values(rows * 1300);
        Compare(backend =>
        {
            var y = backend.Allocate(ElementType.F32, rows, outputs);
            backend.Linear(CpuBackendTests.Upload(backend, input, rows, 1300), backend.Prepare(layer), Epilogue.None, y);
            return y;
        });
    }

    [Test]
    public void Attention_is_quantized_for_the_projection([Values(0, 32, 48)] int groupSize)
    {
        using var weights = new RandomWeights(22);
        var format = new ActivationFormat(groupSize);
        var layer = weights.Group(33, 96, new GroupFormat(8, groupSize), format);
        var qkv = weights.Values(20 * 288);
        Compare(
            backend =>
            {
                var attended = backend.AllocateActivations(format, 1, 20, 96);
                backend.Attention(CpuBackendTests.Upload(backend, qkv, 1, 20, 288), 3, attended);
                var y = backend.Allocate(ElementType.F32, 1, 20, 33);
                backend.Linear(attended, backend.Prepare(layer), Epilogue.None, y);
                return y;
            },
            tolerance: 2e-3);
    }

    [Test]
    public void Static_ranges_are_used()
    {
        using var weights = new RandomWeights(23);
        var format = new ActivationFormat(32) { StaticScales = [0.01f, 0.02f], StaticZeros = [100, 120] };
        var layer = weights.Group(33, 64, new GroupFormat(8, 32), format);
        var (tokens, table) = Tokens(weights, 9, 64);
        Compare(
            backend =>
            {
                var x = Normalized(backend, tokens, table, 9, 64, format);
                var y = backend.Allocate(ElementType.F32, 1, 9, 33);
                backend.Linear(x, backend.Prepare(layer), Epilogue.None, y);
                return y;
            },
            tolerance: 2e-3);
    }

    [Test]
    public void Codes_are_those_of_the_plain_formula([Values(0, 32, 96)] int groupSize, [Values(8, 70, 288)] int width)
    {
        using var weights = new RandomWeights(24);
        using var backend = CpuBackend.Create(new CpuOptions(2));
        var format = new ActivationFormat(groupSize);
        var (tokens, table) = Tokens(weights, 6, width);
        using var floats = Normalized(backend, tokens, table, 6, width, null);
        using var quantized = (CpuActivations)Normalized(backend, tokens, table, 6, width, format);
        var values = CpuBackendTests.Read(backend, floats);
        var grid = format.Grid(width);
        var (codes, scales, zeros) = (new byte[width], new float[grid.Count], new byte[grid.Count]);
        for (var row = 0; row < 6; row++)
        {
            ActivationQuantizer.Quantize(values.AsSpan(row * width, width), format, codes, scales, zeros);
            unsafe
            {
                Assert.That(new ReadOnlySpan<byte>(quantized.Codes + row * quantized.CodeStride, width).SequenceEqual(codes), $"codes of row {row}");
                for (var g = 0; g < grid.Count; g++)
                {
                    var at = g * quantized.RowStride + row;
                    Assert.That((quantized.Scales[at], quantized.Zeros[at]), Is.EqualTo((scales[g], (int)zeros[g])));
                    Assert.That(quantized.Sums[at], Is.EqualTo(codes.AsSpan(grid.Start(g), grid.Length(g)).ToArray().Sum(c => c)));
                }
            }
        }
    }

    [Test]
    public void Row_of_a_quantized_layer_has_the_same_bits_in_any_batch()
    {
        using var weights = new RandomWeights(25);
        using var backend = CpuBackend.Create(new CpuOptions(2));
        var layer = weights.Group(200, 288, new GroupFormat(4, 96), new ActivationFormat(96));
        var prepared = backend.Prepare(layer);
        var (tokens, table) = Tokens(weights, 600, 288);
        var together = Run(tokens, 600);
        var alone = Run(tokens[(577 * 288)..(578 * 288)], 1);
        Assert.That(alone.AsSpan().SequenceEqual(together.AsSpan(577 * 200, 200)));

        float[] Run(float[] values, int rows)
        {
            using var x = Normalized(backend, values, table, rows, 288, layer.Activations);
            using var y = backend.Allocate(ElementType.F32, 1, rows, 200);
            backend.Linear(x, prepared, Epilogue.None, y);
            return CpuBackendTests.Read(backend, y);
        }
    }

    [Test]
    public void First_samples_of_a_quantized_tensor_are_a_tensor_of_their_own()
    {
        using var weights = new RandomWeights(27);
        using var backend = CpuBackend.Create(new CpuOptions(1));
        var layer = weights.Group(20, 64, new GroupFormat(4, 32), new ActivationFormat(32));
        var prepared = backend.Prepare(layer);
        using var tokens = CpuBackendTests.Upload(backend, weights.Values(3 * 5 * 64), 3, 5, 64);
        using var table = CpuBackendTests.Upload(backend, weights.Values(128), 1, 128);
        using var rows = CpuBackendTests.Upload(backend, [0, 0, 0]);
        using var x = backend.AllocateActivations(layer.Activations, 3, 5, 64);
        backend.NormModulate(tokens, new Modulation(table, rows), 0, 1e-6f, x);
        using var all = backend.Allocate(ElementType.F32, 3, 5, 20);
        using var first = backend.Allocate(ElementType.F32, 2, 5, 20);
        backend.Linear(x, prepared, Epilogue.None, all);
        backend.Linear(x.Prefix(2), prepared, Epilogue.None, first);
        Assert.That(CpuBackendTests.Read(backend, first), Is.EqualTo(CpuBackendTests.Read(backend, all)[..200]));
    }

    [Test]
    public void Input_in_another_format_is_refused()
    {
        using var weights = new RandomWeights(26);
        using var backend = CpuBackend.Create(new CpuOptions(1));
        var layer = backend.Prepare(weights.Group(16, 64, new GroupFormat(4, 32), new ActivationFormat(32)));
        using var x = backend.AllocateActivations(new ActivationFormat(64), 1, 2, 64);
        using var y = backend.Allocate(ElementType.F32, 1, 2, 16);
        Assert.That(() => backend.Linear(x, layer, Epilogue.None, y), Throws.ArgumentException.With.Message.Contains("groups of 64").And.Message.Contains("groups of 32"));
    }

    private static (float[] Tokens, float[] Table) Tokens(RandomWeights weights, int rows, int width) =>
        (weights.Values(rows * width, scale: 3), weights.Values(2 * width));

    /// <summary>The input of a layer, made by the operation that makes it in a model.</summary>
    private static Tensor Normalized(IDiTBackend backend, float[] tokens, float[] table, int rows, int width, ActivationFormat? format)
    {
        var x = backend.AllocateActivations(format, 1, rows, width);
        var modulation = new Modulation(CpuBackendTests.Upload(backend, table, 1, 2 * width), CpuBackendTests.Upload(backend, [0]));
        backend.NormModulate(CpuBackendTests.Upload(backend, tokens, 1, rows, width), modulation, 0, 1e-6f, x);
        return x;
    }

    /// <summary>Close to the reference, whose inputs may fall to a neighbouring code where they lie on a boundary; the same bits among themselves.</summary>
    private static void Compare(Func<IDiTBackend, Tensor> operation, double tolerance = 1e-3)
    {
        using var reference = new ReferenceBackend();
        var expected = CpuBackendTests.Read(reference, operation(reference));
        float[]? first = null;
        foreach (var (path, bits, threads) in s_variants)
        {
            if (!CpuBackend.IsAvailable(path)) continue;
            using var backend = CpuBackend.Create(new CpuOptions(threads, bits, path));
            var actual = CpuBackendTests.Read(backend, operation(backend));
            Assert.That(Relative.Error(actual, expected), Is.LessThanOrEqualTo(tolerance), $"{path}, {bits} bits");
            first ??= actual;
            Assert.That(actual.AsSpan().SequenceEqual(first), $"{path}, {bits} bits: other bits");
        }
    }
}

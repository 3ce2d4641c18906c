using DiTRuntime.Backends;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Backends;

namespace DiTRuntime.Tests.Cuda;

/// <summary>What happens to a product before it is stored; the products themselves are exact here.</summary>
[TestFixture]
[Category(TestDevice.Category)]
internal sealed class GemmEpilogueTests
{
    private const int Inputs = 40;

    [TestCase(Activation.Relu)]
    [TestCase(Activation.Silu)]
    [TestCase(Activation.GeluTanh)]
    public void Activations_are_applied(Activation activation)
    {
        using var product = new ExactProduct(33, 70);
        var y = GemmRun.Floats(product.Problem with { Activation = activation }, product.Configuration(64));
        // exp2 to 2 ulp of a result near 1, and an argument rounded to 2^-24 of up to 20.
        for (var i = 0; i < y.Length; i++) Assert.That(y[i], Is.EqualTo(Apply(activation, product.Values[i])).Within(3e-6 * Math.Max(1, Math.Abs(product.Values[i]))), $"{product.Values[i]}");
    }

    [TestCase(Activation.Silu, -1e4f, 0)]
    [TestCase(Activation.Silu, 1e4f, 1e4f)]
    [TestCase(Activation.GeluTanh, -1e4f, 0)]
    [TestCase(Activation.GeluTanh, 1e4f, 1e4f)]
    public void Activations_of_large_values_stay_finite(Activation activation, float value, float expected)
    {
        using var weights = new RandomWeights(1);
        using var packer = new LinearPacker(TestDevice.Device);
        using var layer = packer.Pack(new DenseWeight("layer", [weights.Tensor("layer.weight", new float[16 * 8], 16, 8)], [.. Enumerable.Repeat(value, 16)]));
        using var input = GemmRun.Halves(new float[8], 1, 8);
        var y = GemmRun.Floats(new GemmProblem { Rows = 1, Layer = layer, Input = input.Pointer, Activation = activation }, GemmRun.SmallTile.With(layer, 2));
        Assert.That(y, Has.All.EqualTo(expected).Within(1e-6 * Math.Abs(expected) + 1e-30));
    }

    [TestCase(70, 0)]
    [TestCase(72, 0)]
    [TestCase(70, 88)]
    public void Halves_are_stored(int outputs, int stride)
    {
        using var product = new ExactProduct(66, outputs);
        var pitch = stride == 0 ? outputs : stride;
        using var output = TestDevice.Zeroed(66 * pitch * sizeof(ushort));
        Launch(product.Problem with { Output = output.Pointer, OutputStride = stride }, product);
        var y = TestDevice.DownloadHalf(output, 66 * pitch);
        for (var i = 0; i < y.Length; i++) Assert.That(y[i], Is.EqualTo(i % pitch < outputs ? (float)(Half)product.Values[i / pitch * outputs + i % pitch] : 0));
    }

    [TestCase(70)]
    [TestCase(72)]
    public void Residuals_are_added(int outputs)
    {
        using var product = new ExactProduct(66, outputs);
        var old = new RandomWeights(2).Values(66 * outputs);
        using var output = TestDevice.UploadHalf(old);
        Launch(product.Problem with { Epilogue = GemmEpilogue.Residual, Output = output.Pointer }, product);
        var y = TestDevice.DownloadHalf(output, old.Length);
        for (var i = 0; i < y.Length; i++) Assert.That(y[i], Is.EqualTo((float)(Half)((float)(Half)old[i] + product.Values[i])));
    }

    [TestCase(70)]
    [TestCase(72)]
    public void Gated_residuals_take_their_sample_s_row_of_the_current_step(int outputs)
    {
        const int tokens = 11, samples = 6, chunks = 3;
        using var product = new ExactProduct(samples * tokens, outputs);
        var random = new RandomWeights(3);
        var (old, table) = (random.Values(samples * tokens * outputs), random.Values(4 * chunks * outputs));
        int[] rows = [0, 0, 0, 0, 0, 0, 3, 1, 0, 2, 2, 1];
        using var output = TestDevice.UploadHalf(old);
        using var tableBuffer = TestDevice.Upload<float>(table);
        using var rowBuffer = TestDevice.Upload<int>(rows);
        using var step = TestDevice.Upload<int>([1]);
        Launch(
            product.Problem with
            {
                Epilogue = GemmEpilogue.GatedResidual,
                Output = output.Pointer,
                Tokens = tokens,
                GateOffset = 2 * outputs,
                Modulation = new DeviceModulation { Table = tableBuffer.Pointer, Rows = rowBuffer.Pointer, Step = step.Pointer, Stride = chunks * outputs, SampleCount = samples },
            },
            product);
        var y = TestDevice.DownloadHalf(output, old.Length);
        for (var i = 0; i < y.Length; i++)
        {
            var gate = table[(rows[samples + i / outputs / tokens] * chunks + 2) * outputs + i % outputs];
            Assert.That(y[i], Is.EqualTo((float)(Half)((float)(Half)old[i] + gate * product.Values[i])));
        }
    }

    [TestCase(8, 3)]
    [TestCase(24, 2)]
    [TestCase(6, 4)]
    public void Heads_are_stored_apart(int headSize, int heads)
    {
        const int tokens = 11, samples = 6;
        var outputs = 3 * heads * headSize;
        using var product = new ExactProduct(samples * tokens, outputs);
        using var output = TestDevice.Zeroed(samples * tokens * outputs * sizeof(ushort));
        Launch(product.Problem with { Epilogue = GemmEpilogue.Heads, Output = output.Pointer, Tokens = tokens, HeadCount = heads }, product);
        var y = TestDevice.DownloadHalf(output, samples * tokens * outputs);
        for (var i = 0; i < y.Length; i++)
        {
            var (d, token, head, sample, part) = (i % headSize, i / headSize % tokens, i / headSize / tokens % heads, i / headSize / tokens / heads % samples, i / headSize / tokens / heads / samples);
            Assert.That(y[i], Is.EqualTo((float)(Half)product.Values[(sample * tokens + token) * outputs + (part * heads + head) * headSize + d]));
        }
    }

    [TestCase(32, 80, 64)]
    [TestCase(64, 160, 64)]
    [TestCase(72, 180, 144)]
    [TestCase(96, 240, 96)]
    [TestCase(128, 320, 128)]
    [TestCase(144, 360, 144)]
    [TestCase(288, 720, 288)]
    [TestCase(0, 52, 64)]
    public void Outputs_are_quantized(int group, int outputs, int tile) => CheckQuantized(new ActivationFormat(group), outputs, tile, Activation.None);

    [Test]
    public void Activated_outputs_are_quantized() => CheckQuantized(new ActivationFormat(64), 160, 64, Activation.GeluTanh);

    [Test]
    public void Outputs_are_quantized_in_fixed_ranges() =>
        CheckQuantized(new ActivationFormat(64) { StaticScales = [0.05f, 0.1f, 0.3f], StaticZeros = [3, 128, 250] }, 160, 64, Activation.None);

    private static void CheckQuantized(ActivationFormat format, int outputs, int tile, Activation activation)
    {
        const int rows = 66;
        using var product = new ExactProduct(rows, outputs);
        var layout = new ActivationLayout(format.Grid(outputs));
        var grid = layout.Grid;
        using var codes = TestDevice.Zeroed(rows * layout.CodeStride);
        using var scales = TestDevice.Zeroed(rows * grid.Count * sizeof(float));
        using var corrections = TestDevice.Zeroed(rows * layout.CorrectionStride * sizeof(ushort));
        using var fixedScales = TestDevice.Upload<float>(format.StaticScales ?? [0]);
        using var fixedZeros = TestDevice.Upload<float>(Array.ConvertAll(format.StaticZeros ?? new byte[1], z => (float)z));
        Assert.That(GemmKernel.CanQuantizeOutput(outputs, format), Is.True);
        Launch(
            product.Problem with
            {
                Epilogue = GemmEpilogue.Quantize,
                Activation = activation,
                OutputFormat = format,
                QuantizedOutput = new DeviceActivation
                {
                    Codes = codes.Pointer,
                    Scales = scales.Pointer,
                    Corrections = corrections.Pointer,
                    StaticScales = format.StaticScales is null ? DevicePointer.Null : fixedScales.Pointer,
                    StaticZeros = format.StaticScales is null ? DevicePointer.Null : fixedZeros.Pointer,
                },
            },
            product,
            tile);
        var (q, s, c) = (TestDevice.Download<byte>(codes, rows * layout.CodeStride), TestDevice.Download<float>(scales, rows * grid.Count), TestDevice.DownloadHalf(corrections, rows * layout.CorrectionStride));
        var (expected, expectedScales, expectedZeros) = (new byte[outputs], new float[grid.Count], new byte[grid.Count]);
        var padding = Enumerable.Range(0, layout.CodeStride).Except(Enumerable.Range(0, outputs).Select(layout.CodeAt)).ToArray();
        for (var row = 0; row < rows; row++)
        {
            var values = product.Values.AsSpan(row * outputs, outputs).ToArray();
            for (var i = 0; i < outputs; i++) values[i] = (float)Apply(activation, values[i]);
            ActivationQuantizer.Quantize(values, format, expected, expectedScales, expectedZeros);
            for (var i = 0; i < outputs; i++)
            {
                // A code may differ by one where x/s lies within an ulp of a half; an activation moves it by its own error.
                var real = values[i] / expectedScales[i / grid.Size];
                var isTie = Math.Abs(Math.Abs(real - Math.Round(real)) - 0.5) < (activation == Activation.None ? 1e-4 : 1e-3);
                Assert.That((int)q[row * layout.CodeStride + layout.CodeAt(i)], Is.EqualTo((int)expected[i]).Within(isTie ? 1 : 0), $"row {row}, column {i}, {real}");
            }

            Assert.That(padding.Select(at => q[row * layout.CodeStride + at]), Has.All.Zero);
            for (var g = 0; g < grid.Count; g++)
            {
                Assert.That(s[row * grid.Count + g], Is.EqualTo(expectedScales[g]).Within(activation == Activation.None ? 0 : 1e-6 * expectedScales[g]));
                var sum = Enumerable.Range(grid.Start(g), grid.Length(g)).Sum(i => q[row * layout.CodeStride + layout.CodeAt(i)]);
                var mean = expectedScales[g] * (sum - grid.Length(g) * expectedZeros[g]) / grid.Length(g);
                var offset = expectedScales[g] * expectedZeros[g];
                var six = c.AsSpan(row * layout.CorrectionStride + 6 * g, 6);
                Assert.That(six[0], Is.EqualTo(six[1]));
                Assert.That(six[3], Is.EqualTo(six[4]));
                Assert.That(six[0] + six[2], Is.EqualTo(mean).Within(1e-6 * Math.Max(Math.Abs(mean), offset) + 1e-7));
                Assert.That(six[3] + six[5], Is.EqualTo(offset).Within(1e-6 * offset + 1e-7));
            }
        }
    }

    private static double Apply(Activation activation, double x) => activation switch
    {
        Activation.Relu => Math.Max(x, 0),
        Activation.Silu => x / (1 + Math.Exp(-x)),
        Activation.GeluTanh => x / 2 * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x))),
        _ => x,
    };

    private static void Launch(in GemmProblem problem, ExactProduct product, int columns = 64) => GemmRun.Kernel.Launch(TestDevice.Stream, problem, product.Configuration(columns));

    /// <summary>A product of quarters, whose fp32 value is exact.</summary>
    private sealed class ExactProduct : IDisposable
    {
        private readonly RandomWeights _weights = new(9);
        private readonly GpuBuffer _input;

        public ExactProduct(int rows, int outputs)
        {
            var random = new Random(rows + outputs);
            var (x, w, bias) = (Quarters(rows * Inputs, random), Quarters(outputs * Inputs, random), Quarters(outputs, random));
            using var packer = new LinearPacker(TestDevice.Device);
            var layer = packer.Pack(new DenseWeight("layer", [_weights.Tensor("layer.weight", w, outputs, Inputs)], bias));
            _input = GemmRun.Halves(x, rows, Inputs);
            Problem = new GemmProblem { Rows = rows, Layer = layer, Input = _input.Pointer };
            Values = new float[rows * outputs];
            for (var m = 0; m < rows; m++)
            {
                for (var n = 0; n < outputs; n++)
                {
                    var sum = bias[n];
                    for (var k = 0; k < Inputs; k++) sum += x[m * Inputs + k] * w[n * Inputs + k];
                    Values[m * outputs + n] = sum;
                }
            }
        }

        public GemmProblem Problem { get; }

        public float[] Values { get; }

        public GemmConfiguration Configuration(int columns)
        {
            var tile = columns switch { 64 => GemmRun.SmallTile, 128 => new(64, 128, 2, 4), 288 => new(64, 288, 2, 6), 96 => new(64, 96, 2, 2), _ => new GemmTile(64, columns, 2, 3) };
            return tile.With(Problem.Layer);
        }

        public void Dispose()
        {
            Problem.Layer.Dispose();
            _input.Dispose();
            _weights.Dispose();
        }

        private static float[] Quarters(int count, Random random)
        {
            var values = new float[count];
            for (var i = 0; i < count; i++) values[i] = random.Next(-4, 5) / 4f;
            return values;
        }
    }
}

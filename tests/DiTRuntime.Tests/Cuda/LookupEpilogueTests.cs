using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Cuda;

/// <summary>Row scales and every epilogue of a product whose columns are looked up; the products themselves are exact here.</summary>
[TestFixture]
[Category(TestDevice.Category)]
internal sealed class LookupEpilogueTests
{
    private const int Rows = 66, Tokens = 11, Samples = 6, Heads = 2, HeadSize = 24, Outputs = 3 * Heads * HeadSize, Inputs = 40;

    private readonly CodebookLayer _layer = new(Outputs, Inputs, new CodebookFormat(16, 4) { Parts = 3, HasRowScales = true }, new Random(1));
    private readonly float[] _x = new float[Rows * Inputs];
    private float[] _values = [];
    private CudaLinear _prepared = null!;
    private GpuBuffer _input = null!;

    [OneTimeSetUp]
    public void Prepare()
    {
        var random = new Random(2);
        for (var i = 0; i < _x.Length; i++) _x[i] = random.Next(-8, 9) / 4f;
        _values = _layer.Products(_x, Rows);
        _prepared = _layer.Pack();
        _input = GemmRun.Halves(_x, Rows, Inputs);
    }

    [OneTimeTearDown]
    public void Release()
    {
        _prepared.Dispose();
        _input.Dispose();
    }

    [Test]
    public void Halves_are_stored() => Check(new GemmProblem { Rows = Rows, Layer = _prepared }, (_, old) => _values[old.Index]);

    [Test]
    public void Residuals_are_added() => Check(new GemmProblem { Rows = Rows, Layer = _prepared, Epilogue = GemmEpilogue.Residual }, (_, old) => old.Value + _values[old.Index]);

    [Test]
    public void Gated_residuals_are_added()
    {
        var table = Enumerable.Range(0, Samples * Outputs).Select(i => i % 7 / 4f).ToArray();
        using var tableBuffer = TestDevice.Upload<float>(table);
        using var rows = TestDevice.Upload<int>([5, 4, 3, 2, 1, 0]);
        using var step = TestDevice.Upload<int>([0]);
        var modulation = new DeviceModulation { Table = tableBuffer.Pointer, Rows = rows.Pointer, Step = step.Pointer, Stride = Outputs, SampleCount = Samples };
        Check(
            new GemmProblem { Rows = Rows, Layer = _prepared, Epilogue = GemmEpilogue.GatedResidual, Tokens = Tokens, Modulation = modulation },
            (i, old) => old.Value + table[(5 - i / Outputs / Tokens) * Outputs + i % Outputs] * _values[i]);
    }

    [Test]
    public void Heads_are_stored_apart() => Check(
        new GemmProblem { Rows = Rows, Layer = _prepared, Epilogue = GemmEpilogue.Heads, Tokens = Tokens, HeadCount = Heads },
        (i, _) =>
        {
            var (d, token, head, sample, part) = (i % HeadSize, i / HeadSize % Tokens, i / HeadSize / Tokens % Heads, i / HeadSize / Tokens / Heads % Samples, i / HeadSize / Tokens / Heads / Samples);
            return _values[(sample * Tokens + token) * Outputs + (part * Heads + head) * HeadSize + d];
        });

    [Test]
    public void Outputs_are_quantized()
    {
        var format = new ActivationFormat(64);
        var layout = new ActivationLayout(format.Grid(Outputs));
        var grid = layout.Grid;
        using var codes = TestDevice.Zeroed(Rows * layout.CodeStride);
        using var scales = TestDevice.Zeroed(Rows * grid.Count * sizeof(float));
        using var corrections = TestDevice.Zeroed(Rows * layout.CorrectionStride * sizeof(ushort));
        Launch(new GemmProblem
        {
            Rows = Rows,
            Layer = _prepared,
            Input = _input.Pointer,
            Epilogue = GemmEpilogue.Quantize,
            OutputFormat = format,
            QuantizedOutput = new DeviceActivation { Codes = codes.Pointer, Scales = scales.Pointer, Corrections = corrections.Pointer },
        });
        var (q, s) = (TestDevice.Download<byte>(codes, Rows * layout.CodeStride), TestDevice.Download<float>(scales, Rows * grid.Count));
        var (expected, expectedScales, expectedZeros) = (new byte[Outputs], new float[grid.Count], new byte[grid.Count]);
        for (var row = 0; row < Rows; row++)
        {
            ActivationQuantizer.Quantize(_values.AsSpan(row * Outputs, Outputs), format, expected, expectedScales, expectedZeros);
            Assert.That(s.AsSpan(row * grid.Count, grid.Count).ToArray(), Is.EqualTo(expectedScales));
            for (var i = 0; i < Outputs; i++)
            {
                // A code may differ by one where x/s lies within an ulp of a half.
                var real = _values[row * Outputs + i] / expectedScales[i / grid.Size];
                var isTie = Math.Abs(Math.Abs(real - Math.Round(real)) - 0.5) < 1e-4;
                Assert.That((int)q[row * layout.CodeStride + layout.CodeAt(i)], Is.EqualTo((int)expected[i]).Within(isTie ? 1 : 0), $"row {row}, column {i}");
            }
        }
    }

    private void Launch(in GemmProblem problem) => GemmRun.Kernel.Launch(TestDevice.Stream, problem, LookupProductTests.Configuration(_prepared, 1));

    private void Check(GemmProblem problem, Func<int, (int Index, float Value), float> expected)
    {
        var old = Enumerable.Range(0, Rows * Outputs).Select(i => i % 9 / 8f).ToArray();
        using var output = TestDevice.UploadHalf(old);
        Launch(problem with { Input = _input.Pointer, Output = output.Pointer });
        var y = TestDevice.DownloadHalf(output, old.Length);
        for (var i = 0; i < y.Length; i++) Assert.That(y[i], Is.EqualTo((float)(Half)expected(i, (i, old[i]))), $"{i}");
    }
}

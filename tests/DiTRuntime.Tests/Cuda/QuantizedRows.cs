using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Cuda;

/// <summary>A quantized activation tensor on the test device, and what must hold for it.</summary>
internal sealed class QuantizedRows : IDisposable
{
    private readonly int _rows;
    private readonly ActivationFormat _format;
    private readonly ActivationLayout _layout;
    private readonly GpuBuffer _codes;
    private readonly GpuBuffer _scales;
    private readonly GpuBuffer _corrections;
    private readonly GpuBuffer? _staticScales;
    private readonly GpuBuffer? _staticZeros;

    public QuantizedRows(int rows, int width, ActivationFormat format)
    {
        (_rows, _format, _layout) = (rows, format, new ActivationLayout(format.Grid(width)));
        _codes = TestDevice.Zeroed((long)rows * _layout.CodeStride);
        _scales = TestDevice.Device.Allocate((long)rows * _layout.Grid.Count * sizeof(float));
        _corrections = TestDevice.Zeroed((long)rows * _layout.CorrectionStride * 2);
        if (format.StaticScales is null) return;
        _staticScales = TestDevice.Upload<float>(format.StaticScales);
        _staticZeros = TestDevice.Upload<float>(Array.ConvertAll(format.StaticZeros!, z => (float)z));
    }

    public DeviceActivation Device => new()
    {
        Codes = _codes.Pointer,
        Scales = _scales.Pointer,
        Corrections = _corrections.Pointer,
        StaticScales = _staticScales?.Pointer ?? default,
        StaticZeros = _staticZeros?.Pointer ?? default,
    };

    /// <summary>Every byte: codes with their padding, scales, corrections.</summary>
    public byte[] Bits() =>
    [
        .. TestDevice.Download<byte>(_codes, _rows * _layout.CodeStride),
        .. TestDevice.Download<byte>(_scales, _rows * _layout.Grid.Count * sizeof(float)),
        .. TestDevice.Download<byte>(_corrections, _rows * _layout.CorrectionStride * 2),
    ];

    /// <summary>
    /// Codes as <see cref="ActivationQuantizer"/> makes them, but for values within rounding of a tie: off by one, at most one in a thousand.
    /// Scales to the given relative error; corrections to 2⁻²⁰ of what the codes say; padding zero.
    /// </summary>
    /// <param name="expected">x [rows, K].</param>
    /// <param name="scaleTolerance">Relative error of a scale: that of the values' range.</param>
    public void Check(ReadOnlySpan<float> expected, double scaleTolerance)
    {
        var (codes, scales) = (TestDevice.Download<byte>(_codes, _rows * _layout.CodeStride), TestDevice.Download<float>(_scales, _rows * _layout.Grid.Count));
        var corrections = TestDevice.DownloadHalf(_corrections, _rows * _layout.CorrectionStride);
        var grid = _layout.Grid;
        var (expectedCodes, expectedScales, expectedZeros) = (new byte[grid.RowLength], new float[grid.Count], new byte[grid.Count]);
        var ties = 0;
        for (var row = 0; row < _rows; row++)
        {
            ActivationQuantizer.Quantize(expected.Slice(row * grid.RowLength, grid.RowLength), _format, expectedCodes, expectedScales, expectedZeros);
            var rowCodes = codes.AsSpan(row * _layout.CodeStride, _layout.CodeStride);
            var padding = rowCodes.ToArray();
            for (var g = 0; g < grid.Count; g++)
            {
                var scale = scales[row * grid.Count + g];
                Assert.That(scale, Is.EqualTo(expectedScales[g]).Within(scaleTolerance * expectedScales[g]), $"scale of row {row}, group {g}");
                double sum = 0;
                for (var k = grid.Start(g); k < grid.Start(g) + grid.Length(g); k++)
                {
                    var code = rowCodes[_layout.CodeAt(k)];
                    padding[_layout.CodeAt(k)] = 0;
                    sum += code;
                    if (code == expectedCodes[k]) continue;
                    if (Math.Abs(code - expectedCodes[k]) > 1) Assert.Fail($"row {row}, value {k}: code {code}, expected {expectedCodes[k]}");
                    ties++;
                }

                var c = corrections.AsSpan(row * _layout.CorrectionStride + 6 * g, 6);
                var mean = scale * (sum / grid.Length(g) - expectedZeros[g]);
                var offset = (double)scale * expectedZeros[g];
                Assert.That(c[0] + (double)c[2], Is.EqualTo(mean).Within(Math.Abs(mean) * 1e-6 + 1e-7), $"mean of row {row}, group {g}");
                Assert.That(c[3] + (double)c[5], Is.EqualTo(offset).Within(offset * 1e-6 + 1e-7), $"offset of row {row}, group {g}");
                Assert.That((c[1], c[4]), Is.EqualTo((c[0], c[3])), "high halves stand twice");
            }

            Assert.That(padding, Is.All.Zero, $"padding of row {row}");
            Assert.That(corrections.AsSpan(row * _layout.CorrectionStride + 6 * grid.Count, _layout.CorrectionStride - 6 * grid.Count).ToArray(), Is.All.Zero);
        }

        Assert.That(ties, Is.AtMost(Math.Max(1, expected.Length / 1000)), "codes that differ");
    }

    public void Dispose()
    {
        foreach (var buffer in (ReadOnlySpan<GpuBuffer?>)[_codes, _scales, _corrections, _staticScales, _staticZeros]) buffer?.Dispose();
    }
}

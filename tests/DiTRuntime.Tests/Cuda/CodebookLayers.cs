using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Cuda;

/// <summary>A codebook weight whose codes and codewords a test can read. Elements are 128ths from −127 to 127, both of them there: what 8 bits hold exactly.</summary>
internal sealed class CodebookLayer
{
    public const float IntegerScale = 1 / 128f;

    private readonly CodebookFormat _format;
    private readonly ActivationFormat? _activations;
    private readonly ushort[] _codes;
    private readonly Half[] _vectors;
    private readonly uint[] _table;
    private readonly Half[]? _scales;

    public CodebookLayer(int outputs, int inputs, CodebookFormat format, Random random, int activationGroup = -1, int largest = 127)
    {
        (Outputs, Inputs, _format) = (outputs, inputs, format);
        _activations = activationGroup < 0 ? null : new ActivationFormat(activationGroup);
        var entries = format.BookCount(inputs) * format.CodebookSize;
        _codes = new ushort[outputs * format.VectorsPerRow(inputs)];
        for (var i = 0; i < _codes.Length; i++) _codes[i] = (ushort)random.Next(format.CodebookSize);
        _vectors = new Half[(format.PoolSize == 0 ? entries : format.PoolSize) * format.VectorLength];
        for (var i = 0; i < _vectors.Length; i++) _vectors[i] = (Half)(random.Next(-largest, largest + 1) * IntegerScale);
        (_vectors[0], _vectors[^1]) = ((Half)(127 * IntegerScale), (Half)(-127 * IntegerScale));
        _table = new uint[format.PoolSize == 0 ? 0 : entries];
        for (var i = 0; i < _table.Length; i++) _table[i] = (uint)random.Next(format.PoolSize);
        _scales = format.HasRowScales ? new Half[outputs] : null;
        for (var i = 0; i < _scales?.Length; i++) _scales[i] = (Half)MathF.ScaleB(1, random.Next(-3, 2));
        Bias = new float[outputs];
        for (var i = 0; i < outputs; i++) Bias[i] = random.Next(-8, 9) / 8f;
    }

    public int Outputs { get; }

    public int Inputs { get; }

    public float[] Bias { get; }

    public CodebookWeight ToWeight() => CodebookWeight.Pack("layer", Outputs, Inputs, Bias, _format, _codes, _vectors, _table, _scales, _activations);

    public CudaLinear Pack()
    {
        using var packer = new LinearPacker(TestDevice.Device);
        return packer.Pack(ToWeight());
    }

    /// <summary>s of a row.</summary>
    public double Scale(int n) => _scales is null ? 1 : (double)_scales[n];

    /// <summary>C of a weight, without the row's scale.</summary>
    public double Element(int n, int k)
    {
        var (d, perRow) = (_format.VectorLength, Inputs / _format.VectorLength);
        var book = _format.IsProduct ? k / d : n / (Outputs / _format.Parts);
        var entry = book * _format.CodebookSize + _codes[n * perRow + k / d];
        return (double)_vectors[(_table.Length == 0 ? entry : (int)_table[entry]) * d + k % d];
    }

    /// <summary>s Σ x C + b of every output, in the order of [rows, outputs].</summary>
    public float[] Products(float[] x, int rows)
    {
        var y = new float[rows * Outputs];
        var w = new double[Inputs];
        for (var n = 0; n < Outputs; n++)
        {
            for (var k = 0; k < Inputs; k++) w[k] = Element(n, k);
            for (var m = 0; m < rows; m++)
            {
                var sum = 0.0;
                for (var k = 0; k < Inputs; k++) sum += x[m * Inputs + k] * w[k];
                y[m * Outputs + n] = (float)(Scale(n) * sum + Bias[n]);
            }
        }

        return y;
    }

    /// <summary>s t Σ s_a Σ (q_a − Z_a) q + b of an output, and the same over magnitudes.</summary>
    public (double Value, double Magnitude) Product(GemmInput input, int row, int n)
    {
        double value = Bias[n], magnitude = Math.Abs(Bias[n]);
        for (var k = 0; k < Inputs; k++)
        {
            var at = row * input.Grid.Count + k / input.Grid.Size;
            var (code, scale) = (input.Codes[row * Inputs + k], input.Scales[at] * Scale(n) * Element(n, k));
            value += scale * (code - input.Zeros[at]);
            magnitude += Math.Abs(scale) * code;
        }

        return (value, magnitude);
    }
}

using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Calibration.Training;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Codebooks;

/// <summary>A codebook layer that is being calibrated: w[n, j·d + i] = s_n · V[table[book(n, j), code(n, j)], i], all of it open to change.</summary>
/// <remarks>Without a pool every entry of the codebooks has a vector of its own, and the table counts them.</remarks>
internal sealed unsafe class CodebookLayer
{
    /// <summary>Parts of the rows that are summed apart: sums by vector do not depend on the number of threads.</summary>
    private const int SumParts = 8;

    /// <summary>Rows of a task.</summary>
    private const int TaskRows = 16;

    /// <param name="name">The layer's name.</param>
    /// <param name="outputs">N.</param>
    /// <param name="inputs">K.</param>
    /// <param name="format">Sizes of the codebooks.</param>
    /// <param name="bias">b [N], or null; copied.</param>
    public CodebookLayer(string name, int outputs, int inputs, CodebookFormat format, float[]? bias)
    {
        (Name, Outputs, Inputs, Format, Bias) = (name, outputs, inputs, format, bias?.ToArray());
        VectorsPerRow = format.VectorsPerRow(inputs);
        Codes = new ushort[outputs * VectorsPerRow];
        Table = new int[format.BookCount(inputs) * format.CodebookSize];
        VectorCount = format.PoolSize == 0 ? Table.Length : format.PoolSize;
        Vectors = new float[VectorCount * format.VectorLength];
        if (format.PoolSize == 0)
            for (var entry = 0; entry < Table.Length; entry++) Table[entry] = entry;
        RowScales = new float[outputs];
        Array.Fill(RowScales, 1);
    }

    /// <summary>The layer's name.</summary>
    public string Name { get; }

    /// <summary>N.</summary>
    public int Outputs { get; }

    /// <summary>K.</summary>
    public int Inputs { get; }

    /// <summary>Sizes of the codebooks.</summary>
    public CodebookFormat Format { get; }

    /// <summary>d.</summary>
    public int VectorLength => Format.VectorLength;

    /// <summary>K/d.</summary>
    public int VectorsPerRow { get; }

    /// <summary>Vectors that are stored: of the pool, or of all codebooks.</summary>
    public int VectorCount { get; }

    /// <summary>[N, K/d].</summary>
    public ushort[] Codes { get; }

    /// <summary>[books, k]: the vector of each entry.</summary>
    public int[] Table { get; }

    /// <summary>V [vectors, d].</summary>
    public float[] Vectors { get; }

    /// <summary>s [N]; ones where the format has none.</summary>
    public float[] RowScales { get; }

    /// <summary>b [N], or null.</summary>
    public float[]? Bias { get; }

    /// <summary>How the layer's input is quantized, or null where it is not.</summary>
    public ActivationFormat? Activations { get; init; }

    /// <summary>The codebook of a vector.</summary>
    public int BookOf(int row, int position) => Format.IsProduct ? position : row / (Outputs / Format.Parts);

    /// <summary>The stored vector that stands in a place.</summary>
    public int VectorAt(int row, int position) => Table[BookOf(row, position) * Format.CodebookSize + Codes[row * VectorsPerRow + position]];

    /// <summary>A layer as it was packed.</summary>
    public static CodebookLayer From(CodebookWeight weight)
    {
        var layer = new CodebookLayer(weight.Name, weight.Outputs, weight.Inputs, weight.Format, weight.Bias) { Activations = weight.Activations };
        var rowBytes = weight.Format.RowBytes(weight.Inputs);
        for (var row = 0; row < layer.Outputs; row++)
        {
            BitPacking.Unpack(weight.Codes.Slice(row * rowBytes, rowBytes), weight.Format.CodeBits, 0, layer.Codes.AsSpan(row * layer.VectorsPerRow, layer.VectorsPerRow));
            layer.RowScales[row] = weight.RowScale(row);
        }

        for (var entry = 0; entry < layer.Table.Length; entry++)
            layer.Table[entry] = weight.VectorOf(entry / weight.Format.CodebookSize, entry % weight.Format.CodebookSize);
        for (var i = 0; i < layer.Vectors.Length; i++) layer.Vectors[i] = (float)weight.Vectors[i];
        return layer;
    }

    /// <summary>A layer without a pool from its codes.</summary>
    public static CodebookLayer From(CodebookCodes codes, int outputs, int inputs, CodebookFormat format)
    {
        var layer = new CodebookLayer("", outputs, inputs, format, null);
        codes.Codes.CopyTo(layer.Codes, 0);
        for (var i = 0; i < layer.Vectors.Length; i++) layer.Vectors[i] = (float)codes.Vectors[i];
        for (var row = 0; row < outputs && codes.RowScales is not null; row++) layer.RowScales[row] = (float)codes.RowScales[row];
        return layer;
    }

    /// <summary>The codes of a layer without a pool, everything rounded to halves.</summary>
    public CodebookCodes ToCodes() => new(Codes, Array.ConvertAll(Vectors, ToHalf), Format.HasRowScales ? Array.ConvertAll(RowScales, ToScale) : null);

    /// <summary>Rounds vectors and scales to halves, as a file will hold them.</summary>
    public void Round()
    {
        for (var i = 0; i < Vectors.Length; i++) Vectors[i] = (float)ToHalf(Vectors[i]);
        for (var row = 0; row < Outputs && Format.HasRowScales; row++) RowScales[row] = (float)ToScale(RowScales[row]);
    }

    /// <summary>The layer as a file holds it: vectors and scales rounded to halves.</summary>
    public CodebookWeight ToWeight() => CodebookWeight.Pack(
        Name, Outputs, Inputs, Bias, Format, Codes, Array.ConvertAll(Vectors, ToHalf),
        Format.PoolSize == 0 ? [] : Array.ConvertAll(Table, number => (uint)number),
        Format.HasRowScales ? Array.ConvertAll(RowScales, ToScale) : null, Activations);

    /// <summary>Takes over everything that another layer of the same format holds.</summary>
    public void CopyFrom(CodebookLayer other)
    {
        other.Codes.CopyTo(Codes, 0);
        other.Table.CopyTo(Table, 0);
        other.Vectors.CopyTo(Vectors, 0);
        other.RowScales.CopyTo(RowScales, 0);
        other.Bias?.CopyTo(Bias!, 0);
    }

    /// <summary>Takes everything that it holds to a state or back.</summary>
    public void Exchange(TrainingState state, string prefix)
    {
        state.Exchange($"{Name}.{prefix}codes", Codes);
        state.Exchange($"{Name}.{prefix}table", Table);
        state.Exchange($"{Name}.{prefix}vectors", Vectors);
        state.Exchange($"{Name}.{prefix}scales", RowScales);
        state.Exchange($"{Name}.{prefix}bias", Bias ?? []);
    }

    /// <summary>Ŵ.</summary>
    /// <param name="workers">Who computes.</param>
    /// <param name="weight">out [N, K].</param>
    public void Expand(Workers workers, Matrix weight) => Expand(workers, Vectors, RowScales, weight);

    /// <summary>What other vectors would make in the same places: s_n · V[...].</summary>
    /// <param name="workers">Who computes.</param>
    /// <param name="vectors">V [vectors, d].</param>
    /// <param name="scales">s [N], or empty for ones.</param>
    /// <param name="weight">out [N, K].</param>
    public void Expand(Workers workers, float[] vectors, float[] scales, Matrix weight) => ForRows(workers, row =>
    {
        var d = VectorLength;
        var scale = scales.Length == 0 ? 1 : scales[row];
        var target = weight.Row(row);
        fixed (float* all = vectors)
        {
            for (var j = 0; j < VectorsPerRow; j++, target += d)
            {
                var vector = all + (nint)VectorAt(row, j) * d;
                for (var i = 0; i < d; i++) target[i] = scale * vector[i];
            }
        }
    });

    /// <summary>For every stored vector the sum of s_n·m over the places where it stands: the gradient by the vectors where m is that by the weight.</summary>
    /// <param name="workers">Who computes.</param>
    /// <param name="values">m [N, K].</param>
    /// <param name="sums">out [vectors, d].</param>
    public void SumByVector(Workers workers, Matrix values, double[] sums)
    {
        var d = VectorLength;
        var parts = new double[SumParts][];
        workers.For(SumParts, part =>
        {
            var own = parts[part] = new double[sums.Length];
            for (var row = part * Outputs / SumParts; row < (part + 1) * Outputs / SumParts; row++)
            {
                var scale = RowScales[row];
                for (var j = 0; j < VectorsPerRow; j++)
                {
                    var at = VectorAt(row, j) * d;
                    var source = values.Row(row) + (nint)j * d;
                    for (var i = 0; i < d; i++) own[at + i] += scale * source[i];
                }
            }
        });
        const int span = 4096;
        workers.For((sums.Length + span - 1) / span, task =>
        {
            for (var i = task * span; i < Math.Min(sums.Length, (task + 1) * span); i++)
            {
                double sum = 0;
                foreach (var part in parts) sum += part[i];
                sums[i] = sum;
            }
        });
    }

    /// <summary>Runs something for every row.</summary>
    public void ForRows(Workers workers, Action<int> body) => workers.For((Outputs + TaskRows - 1) / TaskRows, task =>
    {
        for (var row = task * TaskRows; row < Math.Min(Outputs, (task + 1) * TaskRows); row++) body(row);
    });

    /// <summary>The smallest scale that is not zero as a half.</summary>
    private const float SmallestScale = 6.1e-5f;

    private static Half ToScale(float value) => (Half)Math.Clamp(value, SmallestScale, (float)Half.MaxValue);

    private static Half ToHalf(float value) => (Half)Math.Clamp(value, -(float)Half.MaxValue, (float)Half.MaxValue);
}

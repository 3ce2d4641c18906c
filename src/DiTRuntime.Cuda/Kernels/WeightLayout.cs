using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Sizes of a weight's records; the layout itself is described in kernels/abi/weight.h.</summary>
/// <param name="Format">What the weight is multiplied with, and how its codes are stored.</param>
/// <param name="Grid">The groups of a row; for halves one, the row.</param>
internal readonly record struct WeightLayout(GemmFormat Format, GroupGrid Grid)
{
    /// <summary>Rows of W in a record.</summary>
    public const int RecordRows = 16;

    /// <summary>Bytes of a fragment step of halves: 32 lanes of 16.</summary>
    public const int HalfStepBytes = 512;

    /// <summary>Sizes of the codebooks; null without.</summary>
    public CodebookLayout? Books { get; init; }

    /// <summary>Whether the weight's records are made of its codes before each product.</summary>
    public bool IsDecoded => Books is not null && !Format.IsLookup();

    /// <summary>Whether columns have scales of their own beside a weight that is halves.</summary>
    public bool IsScaled => IsDecoded && Format == GemmFormat.F16;

    /// <summary>P: values from one group's codes to the next's.</summary>
    public int Pitch => (Grid.Size + 31) / 32 * 32;

    /// <summary>Bytes a lane reads at once.</summary>
    public int LaneBytes => Format.IsLookup() ? Books!.LaneBytes : Format is GemmFormat.W4A8 or GemmFormat.W4A16 ? 8 : 16;

    /// <summary>Steps of a row's codes: 16 halves, or 32 codes; reads of a codebook weight's.</summary>
    public int Steps => Format.IsLookup() ? Books!.Reads : Format == GemmFormat.F16 ? (Grid.RowLength + 15) / 16 : Grid.Count * Pitch / 32;

    /// <summary>Steps of the corrections: 16 halves each, six a group; 0 where zero points need none.</summary>
    public int CorrectionSteps => Format.IsInteger() ? (6 * Grid.Count + 15) / 16 : 0;

    /// <summary>Where the corrections of a record begin.</summary>
    public int CorrectionsAt => Steps * 32 * LaneBytes;

    /// <summary>Where its scales begin.</summary>
    public int ScalesAt => CorrectionsAt + CorrectionSteps * HalfStepBytes;

    /// <summary>Where its biases begin.</summary>
    public int BiasAt => ScalesAt + RecordRows * sizeof(float) * (IsScaled || Format.IsLookup() ? 1 : Format == GemmFormat.F16 ? 0 : Grid.Count);

    /// <summary>Bytes of a record.</summary>
    public int RecordBytes => BiasAt + RecordRows * sizeof(float);

    /// <summary>Bytes of a record as it waits in device memory.</summary>
    public int StoredRecordBytes => IsDecoded ? Books!.PackedCodeBytes + RecordBytes - CorrectionsAt : RecordBytes;

    /// <summary>Device memory of a weight: records, and the codebooks behind them.</summary>
    public long StoredBytes(int outputs)
    {
        var (books, table) = Books?.StoredBytes(Format.IsLookup()) ?? (0, 0);
        return (long)RecordCount(outputs) * StoredRecordBytes + books + table;
    }

    /// <summary>Records of N rows.</summary>
    public static int RecordCount(int outputs) => (outputs + RecordRows - 1) / RecordRows;

    /// <summary>The layout a weight gets.</summary>
    /// <remarks>
    /// Codes of up to four bits take half a byte, others a byte. Without quantized activations groups must be multiples of 8 (or whole
    /// rows): 16 bytes of halves then belong to one group; a weight in other groups is dequantized at load and is a product of halves.
    /// </remarks>
    public static WeightLayout Of(LinearWeight weight)
    {
        if (weight is CodebookWeight codebook) return Of(codebook);
        if (weight is not GroupWeight group || (weight.Activations is null && group.Grid.Count > 1 && group.Grid.Size % 8 != 0))
            return new(GemmFormat.F16, new(weight.Inputs, 0));
        var isNarrow = group.Format.Bits <= 4;
        var format = weight.Activations is null ? isNarrow ? GemmFormat.W4A16 : GemmFormat.W8A16 : isNarrow ? GemmFormat.W4A8 : GemmFormat.W8A8;
        return new(format, group.Grid);
    }

    private static WeightLayout Of(CodebookWeight weight)
    {
        var isInteger = weight.Activations is not null;
        var grid = weight.Activations?.Grid(weight.Inputs) ?? new(weight.Inputs, 0);
        var books = new CodebookLayout(weight.Format, weight.Outputs, grid, isInteger);
        var format = books.CanLookUp ? isInteger ? GemmFormat.LookupA8 : GemmFormat.LookupA16 : isInteger ? GemmFormat.W8A8 : GemmFormat.F16;
        return new(format, grid) { Books = books };
    }
}

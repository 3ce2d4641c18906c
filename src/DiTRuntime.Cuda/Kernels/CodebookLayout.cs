using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Sizes of a codebook weight on the device (kernels/abi/weight.h), and whether a product can look its columns up or a kernel before it decodes them.</summary>
/// <param name="Format">k, d, parts.</param>
/// <param name="Outputs">N.</param>
/// <param name="Grid">The groups of a quantized input; one, the row, for halves.</param>
/// <param name="IsInteger">Whether codewords are read in 8 bits, for a quantized input.</param>
internal sealed record CodebookLayout(CodebookFormat Format, int Outputs, GroupGrid Grid, bool IsInteger)
{
    /// <summary>The most that the codebooks of a tile, and of the shortest stage, may take: with it two stages of every tile fit the 99 KiB of a consumer GPU's multiprocessor.</summary>
    private const int LargestBooks = 32 << 10, LargestStageBooks = 16 << 10;

    /// <summary>Columns of the widest and of the narrowest tile, and k steps of a stage of whole rows.</summary>
    private const int WidestTile = 288, StageSteps = 4;

    /// <summary>Bytes that all banks of shared memory deliver at once.</summary>
    private const int BankBytes = 128;

    /// <summary>Bytes of an element as it is multiplied.</summary>
    public int ElementBytes => IsInteger ? 1 : 2;

    /// <summary>CODEWORD: d elements.</summary>
    public int CodewordBytes => Format.VectorLength * ElementBytes;

    /// <summary>Bytes from one codeword to the next: one of two bytes lies there twice.</summary>
    public int SlotBytes => Math.Max(4, CodewordBytes);

    /// <summary>CODE_BYTES: codes of up to 8 bits take a byte each, longer ones two.</summary>
    public int CodeBytes => Format.CodebookSize <= 256 ? 1 : 2;

    /// <summary>READ_STEPS: k steps of 32 input bytes whose codes a lane reads at once, 16 bytes at most; groups are whole reads, and so is the shortest stage with its codebooks.</summary>
    public int ReadSteps
    {
        get
        {
            var steps = StageSteps;
            while (steps * StepBytes > 16 || (Grid.Count > 1 && Pitch / 32 % steps != 0) || (steps > UnitSteps && StageBookBytes(steps) > LargestStageBooks)) steps /= 2;
            return steps;
        }
    }

    /// <summary>Bytes of a lane's codes of a read, for both of its rows.</summary>
    public int LaneBytes => ReadSteps * StepBytes;

    /// <summary>Reads of a row.</summary>
    public int Reads => ((IsInteger ? Grid.Count * Pitch / 32 : (Grid.RowLength + 15) / 16) + ReadSteps - 1) / ReadSteps;

    /// <summary>Bytes of a codebook where it is looked up.</summary>
    public int BookBytes => Align(Format.CodebookSize * SlotBytes);

    /// <summary>Codebooks on the device: one for each part, or for each vector of a row, padding included.</summary>
    public int BookCount => Format.IsProduct ? Reads * ReadSteps * 32 / CodewordBytes : Format.Parts;

    /// <summary>Rows that share a codebook.</summary>
    public int PartRows => Outputs / Format.Parts;

    /// <summary>Records that share a codebook.</summary>
    public int PartRecords => Format.Parts == 1 ? WeightLayout.RecordCount(Outputs) : PartRows / WeightLayout.RecordRows;

    /// <summary>Values of a row's padded groups.</summary>
    public int Pitch => (Grid.Size + 31) / 32 * 32;

    /// <summary>Bytes of a record's codes where they wait to be decoded.</summary>
    public int PackedCodeBytes => Align(WeightLayout.RecordRows * Format.VectorsPerRow(Grid.RowLength) * CodeBytes);

    /// <summary>Bytes of the codebooks or the pool, and of the numbers into it, behind the records.</summary>
    public (int Books, int Table) StoredBytes(bool isLookup)
    {
        if (isLookup) return (BookCount * BookBytes, 0);
        var entries = Format.BookCount(Grid.RowLength) * Format.CodebookSize;
        return Format.PoolSize == 0 ? (Align(entries * CodewordBytes), 0) : (Align(Format.PoolSize * CodewordBytes), Align(entries * TableBytes));
    }

    /// <summary>Bytes of a number into the pool; 0 without one.</summary>
    public int TableBytes => Format.PoolSize == 0 ? 0 : Format.PoolSize > 1 << 16 ? 4 : 2;

    /// <summary>
    /// Whether products look columns up: codewords are a lane's whole registers or pieces of one (d of 2, 4 and 8), no record straddles parts, and the codebooks of the widest tile
    /// leave room in shared memory.
    /// </summary>
    public bool CanLookUp =>
        Format.VectorLength is 2 or 4 or 8 && Format.PoolSize == 0 && (Format.Parts == 1 || PartRows % WeightLayout.RecordRows == 0)
        && (Format.IsProduct ? StageBookBytes(ReadSteps) <= LargestStageBooks : TileBooks(WidestTile) * BookBytes <= LargestBooks);

    /// <summary>Bytes of the codebooks that a stage brings with it.</summary>
    /// <param name="stageSteps">k steps of the stage.</param>
    public int StageBookBytes(int stageSteps) => Format.IsProduct ? stageSteps * 32 / CodewordBytes * BookBytes : 0;

    /// <summary>TILE_BOOKS: codebooks that so many columns can meet; 0 where every position has its own.</summary>
    public int TileBooks(int columns) =>
        Format.IsProduct ? 0 : PartRows % columns == 0 ? 1 : Math.Min(Format.Parts, (columns + PartRows - 2) / PartRows + 1);

    /// <summary>BOOK_COPIES worth trying: as many as there are lanes that a load serves at once, half of them, one.</summary>
    public ReadOnlySpan<int> CopyChoices => Format.IsProduct ? [1] : SlotBytes switch { 4 => [32, 16, 1], 8 => [16, 8, 1], _ => [8, 4, 1] };

    /// <summary>How often a load of random codewords is served, over how often it were without bank conflicts: the longest of the queues that random numbers make, in the mean.</summary>
    public double Conflicts(int copies) => (copies * SlotBytes) switch { BankBytes => 1, BankBytes / 2 => 1.95, _ => SlotBytes switch { 4 => 3.3, 8 => 3.0, _ => 2.6 } };

    /// <summary>Where a row's vector lies among those of padded groups.</summary>
    public int PaddedVector(int position)
    {
        var first = position * Format.VectorLength;
        return (first / Grid.Size * Pitch + first % Grid.Size) / Format.VectorLength;
    }

    /// <summary>Where a vector's code lies in a record that is looked up, for the record's first row; row r is <see cref="RowOffset"/> further.</summary>
    public int CodeAt(int position)
    {
        var vector = PaddedVector(position);
        var (unitVectors, gathers) = (UnitSteps * 32 / CodewordBytes, Gathers);
        var (unit, inUnit) = (vector / unitVectors, vector % unitVectors);
        // The lane of the quad whose product it is, and which of its codes.
        var (lane, gather) = CodewordBytes switch { 2 => (inUnit % 8 / 2, inUnit / 8 * 2 + inUnit % 2), 4 => (inUnit % 4, inUnit / 4), _ => (inUnit, 0) };
        var readUnits = ReadSteps / UnitSteps;
        return (unit / readUnits * 32 + lane) * LaneBytes + unit % readUnits * 2 * gathers * CodeBytes + gather * CodeBytes;
    }

    /// <summary>From the first row's code to that of row r.</summary>
    public int RowOffset(int row) => row % 8 * 4 * LaneBytes + row / 8 * Gathers * CodeBytes;

    /// <summary>k steps that a codeword of a lane's whole registers serves.</summary>
    private int UnitSteps => CodewordBytes == 16 ? 2 : 1;

    /// <summary>Codes of a lane, column and unit.</summary>
    private int Gathers => Math.Max(1, 8 / CodewordBytes);

    /// <summary>Bytes of a lane's codes of one k step: eight bytes of each of two columns come from 8 / CODEWORD codes.</summary>
    private int StepBytes => 2 * CodeBytes * 8 / CodewordBytes;

    private static int Align(int bytes) => (bytes + 15) / 16 * 16;
}

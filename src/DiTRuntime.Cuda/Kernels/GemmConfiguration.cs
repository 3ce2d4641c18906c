using DiTRuntime.Cuda.Devices;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>What a block computes, and how its warps share it.</summary>
/// <param name="Rows">TILE_M.</param>
/// <param name="Columns">TILE_N.</param>
/// <param name="WarpRows">Warps along M.</param>
/// <param name="WarpColumns">Warps along N.</param>
internal readonly record struct GemmTile(int Rows, int Columns, int WarpRows, int WarpColumns)
{
    /// <summary>Threads of a block.</summary>
    public int Threads => WarpRows * WarpColumns * 32;

    /// <summary>Sums of a thread.</summary>
    public int Sums => Rows * Columns / Threads;
}

/// <summary>How a product is run. A choice among speeds: it does not change a bit of the result.</summary>
/// <param name="Tile">Tile of a block.</param>
/// <param name="StageSteps">KSTEPS: k steps of 32 input bytes in a stage.</param>
/// <param name="Stages">Stages in shared memory.</param>
internal readonly record struct GemmConfiguration(GemmTile Tile, int StageSteps, int Stages)
{
    /// <summary>BOOK_COPIES: copies of each codeword in shared memory.</summary>
    public int BookCopies { get; init; } = 1;

    /// <summary>Registers of a thread beside its sums: fragments, scales, addresses.</summary>
    private const int OtherRegisters = 100;

    /// <summary>Sums of a thread that leave room for what any format needs beside them.</summary>
    private const int SumsOfAnyFormat = 64;

    /// <summary>A product of no more rows has tiles of so many: one m16 tile, and warps along N alone.</summary>
    private const int FewRows = 16;

    /// <summary>Multiply-adds that the tensor cores of a multiprocessor do in a cycle through <c>mma.sync</c>, a k step of 16 halves: 1,300 of an H200's.</summary>
    private const double SumsPerCycle = 80;

    /// <summary>Bytes that reach a multiprocessor from the second cache in a cycle.</summary>
    private const double CacheBytesPerCycle = 64;

    /// <summary>Tiles by warps of 64×64, 64×48, 64×32, 32×48, 32×32 and 16×32.</summary>
    private static readonly GemmTile[] s_tiles =
    [
        new(128, 256, 2, 4), new(128, 192, 2, 4), new(128, 144, 2, 3), new(128, 128, 2, 4), new(128, 96, 2, 2),
        new(64, 288, 2, 6), new(64, 192, 2, 4), new(64, 144, 2, 3), new(64, 128, 2, 4), new(64, 96, 2, 2), new(64, 64, 2, 2),
        new(FewRows, 128, 1, 4), new(FewRows, 64, 1, 2),
    ];

    /// <summary>Whether a layer's output can be quantized as it is stored: its groups lie inside a tile and are multiples of 4.</summary>
    /// <param name="outputs">N of the layer.</param>
    /// <param name="format">The next layer's activations.</param>
    public static bool CanQuantizeOutput(int outputs, ActivationFormat format)
    {
        var grid = format.Grid(outputs);
        if (outputs % 4 != 0 || grid.Size % 4 != 0) return false;
        foreach (var tile in s_tiles)
            if (tile.Sums <= SumsOfAnyFormat && Holds(tile, grid)) return true;
        return false;
    }

    /// <summary>The fastest tile by a model of the device: waves of blocks, each block as slow as its warps' tiles are small.</summary>
    /// <param name="problem">The product.</param>
    /// <param name="device">Where it runs.</param>
    public static GemmConfiguration Choose(in GemmProblem problem, GpuProperties device)
    {
        GemmConfiguration? best = null;
        var bestTime = double.PositiveInfinity;
        var layout = problem.Layer.Layout;
        ReadOnlySpan<int> stageSteps = [StepsOfStage(layout), UnitOf(layout)];
        var copyChoices = layout.Format.IsLookup() ? layout.Books!.CopyChoices : [1];
        foreach (var tile in s_tiles)
        {
            foreach (var steps in stageSteps)
            {
                for (var stages = 2; stages <= 4; stages++)
                {
                    foreach (var copies in copyChoices)
                    {
                        var configuration = new GemmConfiguration(tile, steps, stages) { BookCopies = copies };
                        var time = configuration.Fits(problem) ? configuration.Time(problem, device) : double.PositiveInfinity;
                        if (time >= bestTime) continue;
                        (best, bestTime) = (configuration, time);
                    }
                }
            }
        }

        return best ?? throw new ArgumentException($"{problem.Layer.Name}: no tile holds an output group of {problem.OutputGroup}", nameof(problem));
    }

    /// <summary>Dynamic shared memory of a block; as kStagesAt, kStageBytes and kSliceBytes in the kernel.</summary>
    public int SharedBytes(WeightLayout layout)
    {
        var (isInteger, isLookup) = (layout.Format.IsInteger(), layout.Format.IsLookup());
        var fragments = StageSteps / UnitOf(layout) * layout.LaneBytes;
        if (isInteger) fragments = Math.Max(fragments, 16 * (isLookup ? Math.Min(StageSteps, 2) : 1));
        var groups = Math.Max(1, StageSteps / StepsOfGroup(layout));
        var scales = (layout.Format == GemmFormat.F16 || isLookup ? 0 : groups * Tile.Columns * 4) + (isInteger ? groups * Tile.Rows * 4 : 0);
        var stage = Tile.Rows * RowPitch(layout) + Tile.Columns * 2 * fragments + scales + (isLookup ? layout.Books!.StageBookBytes(StageSteps) : 0);
        var books = isLookup ? layout.Books!.TileBooks(Tile.Columns) * layout.Books.BookBytes * BookCopies : 0;
        return Math.Max(books + Stages * stage, Tile.WarpRows * 16 * (Tile.Columns + 8) * 4);
    }

    /// <summary>KSTEPS: four where groups allow it, so that a stage is whole groups or a group whole stages.</summary>
    public static int StepsOfStage(WeightLayout layout)
    {
        if (layout.Format == GemmFormat.F16 || layout.Grid.Count == 1) return 4;
        var group = StepsOfGroup(layout);
        if (group <= 2) return 4;
        var unit = UnitOf(layout);
        for (var steps = layout.Format.IsWeightOnly() ? 6 : 5; steps > unit; steps--)
            if (group % steps == 0 && steps % unit == 0) return steps;
        return unit;
    }

    /// <summary>k steps of a group at its pitch; beyond any stage for whole rows.</summary>
    private static int StepsOfGroup(WeightLayout layout) =>
        layout.Format == GemmFormat.F16 || layout.Grid.Count == 1 ? int.MaxValue : layout.Pitch / (layout.Format.IsInteger() ? 32 : 16);

    /// <summary>The fewest k steps a stage can have: weight-only codes are stored for two.</summary>
    private static int UnitOf(WeightLayout layout) => layout.Format.IsLookup() ? layout.Books!.ReadSteps : layout.Format.IsWeightOnly() ? 2 : 1;

    /// <summary>Bytes from one row of a stage to the next; as kRowPitch in the kernel.</summary>
    private int RowPitch(WeightLayout layout)
    {
        if (!layout.Format.IsLookup() || layout.Books!.CodewordBytes < 8) return StageSteps * 32 + 16;
        var unit = layout.Books.CodewordBytes == 16 ? 2 : 1;
        return StageSteps * 32 + (StageSteps / unit % 2 == 1 ? 0 : unit * 32);
    }

    /// <summary>Whether the registers suffice, and an output group lies inside the tile.</summary>
    private bool Fits(in GemmProblem problem)
    {
        var layout = problem.Layer.Layout;
        var limit = layout.Format switch
        {
            GemmFormat.F16 or GemmFormat.LookupA16 => 128,
            // The columns of a group that a stage holds take registers; so do, as many again, the integer sums of one that spans stages.
            // Cutting codes apart, and copies that six warps share unevenly, do too: together they spill.
            GemmFormat.W8A8 or GemmFormat.W4A8 or GemmFormat.LookupA8 when StepsOfGroup(layout) is var group && group <= 4 && StageSteps % group == 0
                && (layout.Format == GemmFormat.W8A8 || Tile.WarpColumns != 3) => 96,
            _ => SumsOfAnyFormat,
        };
        return Tile.Sums <= limit && (Tile.Rows != FewRows || problem.Rows <= FewRows) && (problem.Epilogue != GemmEpilogue.Quantize || Holds(Tile, problem.OutputFormat!.Grid(problem.Layer.Outputs)));
    }

    private static bool Holds(GemmTile tile, GroupGrid grid) => grid.Count == 1 ? grid.Size <= tile.Columns : tile.Columns % grid.Size == 0;

    private double Time(in GemmProblem problem, GpuProperties device)
    {
        var shared = SharedBytes(problem.Layer.Layout);
        if (shared > device.SharedMemoryPerBlock) return double.PositiveInfinity;
        // A block takes a kilobyte more of the multiprocessor's memory, which is a kilobyte more than one block may have.
        var byMemory = (device.SharedMemoryPerBlock + 1024) / (shared + 1024);
        var byRegisters = 65536 / (Tile.Threads * Math.Min(255, Tile.Sums + OtherRegisters));
        var resident = Math.Clamp(Math.Min(byMemory, byRegisters), 1, 4);
        var blocks = (long)Ceiling(problem.Rows, Tile.Rows) * Ceiling(problem.Layer.Outputs, Tile.Columns);
        // Blocks of one multiprocessor share it; a last wave that is not full is as long as the blocks one multiprocessor gets of it.
        var full = blocks / ((long)device.MultiprocessorCount * resident);
        var rest = Ceiling((int)(blocks - full * device.MultiprocessorCount * resident), device.MultiprocessorCount);
        var units = full * resident + rest;
        // Shared memory is read once for each row and column of a warp's tile; few warps and few stages hide less of everything.
        var (rows, columns) = (Tile.Rows / Tile.WarpRows, Tile.Columns / Tile.WarpColumns);
        var slowness = 1 + 12.0 * (Conflicts(problem.Layer.Layout) / rows + 1.0 / columns);
        var warps = resident * Tile.Threads / 32;
        return units * (Tile.Rows * Tile.Columns * slowness + BookTime(problem.Layer.Layout)) * (1 + 1.0 / warps) * (1 + 0.5 / StageSteps) * (Stages switch { 2 => 1.15, 3 => 1.03, _ => 1.0 });
    }

    /// <summary>How much slower a column comes out of codebooks than out of a stage.</summary>
    private double Conflicts(WeightLayout layout) => layout.Format.IsLookup() ? layout.Books!.Conflicts(BookCopies) : 1;

    /// <summary>What bringing codebooks into shared memory adds to a tile: those of all stages from the second cache, or one for all, once.</summary>
    private double BookTime(WeightLayout layout)
    {
        if (!layout.Format.IsLookup()) return 0;
        var books = layout.Books!;
        var cycles = books.Format.IsProduct
            ? books.StageBookBytes(StageSteps) / CacheBytesPerCycle / StageSteps
            : books.TileBooks(Tile.Columns) * books.BookBytes * BookCopies / 128.0 / (books.Reads * books.ReadSteps);
        return cycles * SumsPerCycle;
    }

    private static int Ceiling(int value, int divisor) => (value + divisor - 1) / divisor;
}

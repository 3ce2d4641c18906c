using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>How a block of attention_kernel is cut, and what it needs; mirrors the constants of kernels/attention/attention.cu.</summary>
/// <param name="Heads">Heads of a token.</param>
/// <param name="HeadSize">D, a multiple of 8 up to 128.</param>
/// <param name="HeadsPerBlock">Heads that a block takes one after the other.</param>
/// <param name="QueryTile">Queries of a block: 16, 32 or 64.</param>
/// <param name="KeyTiles">Tiles of 64 keys whose scores are held at once; 0 for any number.</param>
/// <param name="Format">How the output is quantized, or null.</param>
internal readonly record struct AttentionPlan(int Heads, int HeadSize, int HeadsPerBlock, int QueryTile, int KeyTiles, ActivationFormat? Format)
{
    private const int TileKeys = 64;
    private const int Stages = 3;
    private const int MaxKeyTiles = 4;

    /// <summary>
    /// More heads one after the other leave most multiprocessors idle: a kernel of its own that quantizes takes less time. One group a row takes all
    /// heads all the same: such a model spends its eighth kernel of a block on the MLP's hidden rows, which no tile of a product holds whole.
    /// </summary>
    private const int MaxHeadsPerBlock = 4;

    /// <summary>Threads of a block: a warp for 16 queries.</summary>
    public int Threads => QueryTile * 2;

    /// <summary>Dynamic shared memory of a block, in bytes.</summary>
    public int SharedBytes
    {
        get
        {
            var pitch = (((HeadSize + 15) / 16 * 2) | 1) * 16;
            var outputPitch = ((HeadsPerBlock * (HeadSize / 8)) | 1) * 16;
            var bytes = (Stages * TileKeys + QueryTile) * pitch + (HeadsPerBlock > 1 ? QueryTile * outputPitch : 0);
            if (Format is { } format) bytes += QueryTile / 16 * new SpanLayout(new ActivationLayout(format.Grid(Heads * HeadSize)), HeadsPerBlock * HeadSize).ScratchBytes;
            return bytes;
        }
    }

    /// <summary>A plan whose blocks fit; null where none does, or where whole groups take too many heads.</summary>
    /// <param name="heads">Heads of a token.</param>
    /// <param name="headSize">D.</param>
    /// <param name="tokens">T.</param>
    /// <param name="format">How the output is quantized, or null.</param>
    /// <param name="sharedMemoryPerBlock">What a block may ask for.</param>
    public static AttentionPlan? Make(int heads, int headSize, int tokens, ActivationFormat? format, int sharedMemoryPerBlock)
    {
        var headsPerBlock = format is null ? 1 : HeadsOfWholeGroups(heads, headSize, format.Grid(heads * headSize));
        if ((headsPerBlock > MaxHeadsPerBlock && format!.Grid(heads * headSize).Count > 1) || (format is not null && format.Grid(heads * headSize).Size % 4 != 0)) return null;
        var keyTiles = (tokens + TileKeys - 1) / TileKeys;
        for (var queryTile = tokens <= 16 ? 16 : tokens <= 32 ? 32 : 64; queryTile >= 16; queryTile /= 2)
        {
            var plan = new AttentionPlan(heads, headSize, headsPerBlock, queryTile, keyTiles <= MaxKeyTiles ? keyTiles : 0, format);
            if (plan.SharedBytes <= sharedMemoryPerBlock) return plan;
        }

        return null;
    }

    /// <summary>The specialisation.</summary>
    public KernelSpec Spec()
    {
        const string File = "attention/attention.cu", Entry = "attention_kernel";
        if (Format is not { } format)
            return new KernelSpec(File, Entry, ("HEAD_SIZE", HeadSize), ("KEY_TILES", KeyTiles), ("QUERY_TILE", QueryTile), ("QUANTIZED", 0));
        return new KernelSpec(
            File,
            Entry,
            ("HEAD_SIZE", HeadSize),
            ("KEY_TILES", KeyTiles),
            ("QUERY_TILE", QueryTile),
            ("QUANTIZED", 1),
            ("HEADS", Heads),
            ("HEADS_PER_BLOCK", HeadsPerBlock),
            ("GROUP", format.GroupSize),
            ("STATIC_RANGES", format.StaticScales is null ? 0 : 1));
    }

    /// <summary>The fewest heads that end where a group ends: lcm(g, D)/D, or all of them.</summary>
    private static int HeadsOfWholeGroups(int heads, int headSize, GroupGrid grid) =>
        Math.Min(heads, grid.Size / GreatestCommonDivisor(grid.Size, headSize));

    private static int GreatestCommonDivisor(int a, int b) => b == 0 ? a : GreatestCommonDivisor(b, a % b);
}

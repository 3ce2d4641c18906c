namespace DiTRuntime.Decoding;

/// <summary>How one side of a latent is cut into equal tiles that overlap, and how their pixels blend.</summary>
/// <remarks>
/// Neighbours share at least a quarter of a tile; tiles are spread evenly, so that they all have one size. Over a shared
/// stretch the later tile's share rises linearly from 0 to 1, as in the tiled decoder of diffusers; the shares of all tiles at a
/// pixel add up to one.
/// </remarks>
internal readonly struct TileAxis
{
    private readonly int _length;

    /// <param name="length">Latent positions along this side.</param>
    /// <param name="largestTile">Largest number of positions of one tile.</param>
    public TileAxis(int length, int largestTile)
    {
        _length = length;
        Size = Math.Min(length, largestTile);
        var stride = largestTile - largestTile / 4;
        Count = length <= largestTile ? 1 : 1 + (length - largestTile + stride - 1) / stride;
    }

    /// <summary>Positions of each tile.</summary>
    public int Size { get; }

    /// <summary>Number of tiles.</summary>
    public int Count { get; }

    /// <summary>First position of a tile.</summary>
    public int Start(int tile) => Count == 1 ? 0 : (int)((long)tile * (_length - Size) / (Count - 1));

    /// <summary>The share of a tile in each of its own pixels.</summary>
    /// <param name="tile">Which tile.</param>
    /// <param name="upscale">Pixels per position.</param>
    /// <returns>[Size·upscale].</returns>
    public float[] Shares(int tile, int upscale)
    {
        var shares = new float[Size * upscale];
        for (var i = 0; i < shares.Length; i++)
        {
            var pixel = Start(tile) * upscale + i;
            shares[i] = Rise(tile, pixel, upscale);
            for (var later = tile + 1; later < Count && Start(later) * upscale <= pixel; later++) shares[i] *= 1 - Rise(later, pixel, upscale);
        }

        return shares;
    }

    /// <summary>0 before a tile begins, rising to 1 where the tile before it ends.</summary>
    private float Rise(int tile, int pixel, int upscale)
    {
        if (tile == 0) return 1;
        var overlap = Start(tile - 1) + Size - Start(tile);
        return Math.Clamp((pixel - Start(tile) * upscale) / (float)(overlap * upscale), 0, 1);
    }
}

namespace DiTRuntime.Cuda.Kernels;

/// <summary>How a convolution is cut into blocks; changes no bit of the result.</summary>
/// <param name="Pixels">Output pixels of a block.</param>
/// <param name="Channels">Output channels of a block.</param>
/// <param name="WarpsAlongPixels">Warps that share the pixels.</param>
/// <param name="WarpsAlongChannels">Warps that share the channels.</param>
internal readonly record struct ConvolutionTile(int Pixels, int Channels, int WarpsAlongPixels, int WarpsAlongChannels)
{
    private const int Stages = 4, Depth = 32;

    /// <summary>Reads least: for many pixels and channels.</summary>
    public static ConvolutionTile Large => new(128, 128, 2, 4);

    /// <summary>More blocks where an image is small, and no waste at 64 channels.</summary>
    public static ConvolutionTile Small => new(64, 64, 2, 2);

    /// <summary>Few output channels: a latent's or an image's.</summary>
    public static ConvolutionTile Thin => new(128, 16, 4, 1);

    /// <summary>Threads of a block.</summary>
    public int Threads => 32 * WarpsAlongPixels * WarpsAlongChannels;

    /// <summary>The ring of stages.</summary>
    public int SharedBytes => Stages * (Pixels + Channels) * Depth * sizeof(ushort);

    /// <summary>The largest tile that gives every multiprocessor a block.</summary>
    public static ConvolutionTile For(long pixelCount, int channels, int multiprocessorCount)
    {
        if (channels <= Thin.Channels) return Thin;
        return channels > Small.Channels && Large.BlockCount(pixelCount, channels) >= multiprocessorCount ? Large : Small;
    }

    /// <summary>Blocks of a convolution.</summary>
    public long BlockCount(long pixelCount, int channels) => (pixelCount + Pixels - 1) / Pixels * ((channels + Channels - 1) / Channels);
}

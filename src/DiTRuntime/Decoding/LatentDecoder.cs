using DiTRuntime.Backends;

namespace DiTRuntime.Decoding;

/// <summary>
/// What the convolutional decoders share: a latent up to 64 positions a side is decoded whole, a larger one in overlapping
/// tiles of 64 whose seams are blended, so that memory does not grow with the image.
/// </summary>
public abstract class LatentDecoder : IImageDecoder
{
    /// <summary>Latents up to this side are decoded whole: 512 pixels with the published autoencoders.</summary>
    private const int LargestWholeSide = 64;

    private readonly DecoderLayers _layers;
    private readonly WorkPlan _plan;
    private readonly WorkTensors _work;
    private (int Height, int Width) _workShape;

    /// <exception cref="InvalidFileException">A layer is so wide that its activations do not fit a tensor.</exception>
    private protected LatentDecoder(IDiTBackend backend, DecoderLayers layers, WorkPlan plan)
    {
        if (plan.LargestPerPosition * LargestWholeSide * LargestWholeSide > int.MaxValue)
            throw new InvalidFileException(layers.File, $"the widest layer holds {plan.LargestPerPosition} values per latent position, too many to decode");
        Backend = backend;
        _layers = layers;
        _plan = plan;
        _work = new WorkTensors(backend);
    }

    /// <inheritdoc/>
    public abstract string Description { get; }

    /// <inheritdoc/>
    public abstract int LatentChannels { get; }

    /// <inheritdoc/>
    public abstract int ImageChannels { get; }

    /// <inheritdoc/>
    public abstract int UpscaleFactor { get; }

    /// <inheritdoc/>
    public int TileSide { get; set; } = LargestWholeSide;

    /// <summary>Bytes of the activations held now.</summary>
    internal long AllocatedBytes => _work.ByteCount;

    /// <summary>The backend that decodes.</summary>
    private protected IDiTBackend Backend { get; }

    /// <summary>Bytes of activations that decoding a latent of this size holds, besides the weights and the image itself.</summary>
    /// <param name="height">Rows of the latent.</param>
    /// <param name="width">Columns of the latent.</param>
    public long WorkingBytes(int height, int width)
    {
        var (rows, columns) = (new TileAxis(height, TileSide), new TileAxis(width, TileSide));
        return sizeof(float) * _plan.ValuesPerPosition * rows.Size * columns.Size;
    }

    /// <inheritdoc/>
    public void Decode(ReadOnlySpan<float> latent, int height, int width, Span<float> pixels)
    {
        CheckLengths(latent, height, width, pixels);
        var (rows, columns) = (new TileAxis(height, TileSide), new TileAxis(width, TileSide));
        UseShape(rows.Size, columns.Size);

        var tileLatent = new float[rows.Size * columns.Size * LatentChannels];
        if (rows.Count * columns.Count == 1)
        {
            CutTile(latent, height, width, 0, 0, rows.Size, columns.Size, tileLatent);
            DecodeTile(tileLatent, rows.Size, columns.Size, pixels);
        }
        else
        {
            var tilePixels = new float[rows.Size * columns.Size * UpscaleFactor * UpscaleFactor * ImageChannels];
            pixels.Clear();
            for (var row = 0; row < rows.Count; row++)
                for (var column = 0; column < columns.Count; column++)
                {
                    var (top, left) = (rows.Start(row), columns.Start(column));
                    CutTile(latent, height, width, top, left, rows.Size, columns.Size, tileLatent);
                    DecodeTile(tileLatent, rows.Size, columns.Size, tilePixels);
                    var start = (top * width * UpscaleFactor + left) * UpscaleFactor * ImageChannels;
                    Blend(tilePixels, rows.Shares(row, UpscaleFactor), columns.Shares(column, UpscaleFactor), pixels[start..], width * UpscaleFactor * ImageChannels);
                }
        }

        Finish(pixels);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _work.Dispose();
        _layers.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>Runs the network on one tile.</summary>
    /// <param name="latent">F32 [1, Y, X, latent channels].</param>
    /// <param name="work">Where activations come from; everything is given back but the result.</param>
    /// <returns>F32 [1, f·Y, f·X, image channels].</returns>
    private protected abstract Tensor Run(Tensor latent, WorkTensors work);

    /// <summary>A latent value from the model's space to the network's.</summary>
    private protected abstract float ToNetwork(float value);

    /// <summary>Pixel values from the network's range to [−1, 1], in place.</summary>
    private protected virtual void Finish(Span<float> pixels)
    {
        // Most networks make [−1, 1].
    }

    /// <summary>Convolves into a new tensor and gives the input back.</summary>
    private protected Tensor Next(Tensor x, PreparedConvolution layer, in ConvolutionOptions options, WorkTensors work)
    {
        var scale = options.UpsamplesInput ? 2 : 1;
        var output = work.Take(1, scale * x.Shape[1], scale * x.Shape[2], layer.Outputs);
        Backend.Convolution(x, layer, options, output);
        work.GiveBack(x);
        return output;
    }

    private void CheckLengths(ReadOnlySpan<float> latent, int height, int width, Span<float> pixels)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(height);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        var positions = (long)height * width;
        if (latent.Length != positions * LatentChannels)
            throw new ArgumentException($"a latent of {latent.Length} values, expected [{LatentChannels},{height},{width}]", nameof(latent));
        if (pixels.Length != positions * UpscaleFactor * UpscaleFactor * ImageChannels)
            throw new ArgumentException($"room for {pixels.Length} pixel values, expected [{height * UpscaleFactor},{width * UpscaleFactor},{ImageChannels}]", nameof(pixels));
    }

    /// <summary>Work tensors are kept for one tile shape; another shape replaces them.</summary>
    private void UseShape(int height, int width)
    {
        if (_workShape != (height, width)) _work.Dispose();
        _workShape = (height, width);
        _work.GiveBackAll();
    }

    private void DecodeTile(float[] tileLatent, int height, int width, Span<float> pixels)
    {
        var input = _work.Take(1, height, width, LatentChannels);
        Backend.Upload<float>(tileLatent, input);
        var image = Run(input, _work);
        Backend.Download(image, pixels);
        _work.GiveBack(image);
    }

    /// <summary>Copies a tile out of [C, height, width] as [tileHeight, tileWidth, C], brought to the network's space.</summary>
    private void CutTile(
        ReadOnlySpan<float> latent, int height, int width, int top, int left, int tileHeight, int tileWidth, float[] tile)
    {
        for (var c = 0; c < LatentChannels; c++)
            for (var y = 0; y < tileHeight; y++)
                for (var x = 0; x < tileWidth; x++)
                    tile[(y * tileWidth + x) * LatentChannels + c] = ToNetwork(latent[(c * height + top + y) * width + left + x]);
    }

    /// <summary>Adds a tile's share to the image.</summary>
    private void Blend(float[] tile, float[] rowShares, float[] columnShares, Span<float> image, int imageRowLength)
    {
        var tileRowLength = columnShares.Length * ImageChannels;
        for (var y = 0; y < rowShares.Length; y++)
            for (var x = 0; x < tileRowLength; x++)
                image[y * imageRowLength + x] += rowShares[y] * columnShares[x / ImageChannels] * tile[y * tileRowLength + x];
    }
}

using DiTRuntime.Calibration.Evaluation;
using DiTRuntime.Checkpoints;
using DiTRuntime.Imaging;

namespace DiTRuntime.Cli.Evaluation;

/// <summary>A set of images, or what is known of one: an .npz file or a folder of PNG files.</summary>
internal sealed class ImageSource : IDisposable
{
    private const string Images = "arr_0";
    private const int Together = 64;

    private readonly string _path;
    private readonly NpzReader? _npz;
    private readonly string[] _files;

    /// <param name="path">An .npz file or a folder.</param>
    /// <exception cref="InvalidFileException">It is neither, or holds nothing to compare.</exception>
    public ImageSource(string path)
    {
        _path = path;
        if (Directory.Exists(path))
        {
            _files = [.. ListFiles(path).Where(f => f.EndsWith(".png", StringComparison.OrdinalIgnoreCase)).Order(StringComparer.Ordinal)];
            if (_files.Length == 0) throw new InvalidFileException(path, "the folder holds no PNG files");
            return;
        }

        _files = [];
        _npz = NpzReader.Open(path);
        if (HasImages || HasStatistics) return;
        _npz.Dispose();
        throw new InvalidFileException(path, $"neither images ({Images}) nor statistics (mu, sigma) in it; found {(_npz.Names.Count == 0 ? "nothing" : string.Join(", ", _npz.Names.Take(8)))}");
    }

    /// <summary>Whether there are images.</summary>
    public bool HasImages => _npz?.Has(Images) ?? true;

    /// <summary>Whether the file holds mean and covariance.</summary>
    public bool HasStatistics => _npz is not null && _npz.Has("mu") && _npz.Has("sigma");

    /// <summary>Everything there is to know.</summary>
    /// <param name="extractor">What looks at images, or null when they are not to be looked at.</param>
    /// <param name="progress">Told how many images are done.</param>
    /// <exception cref="InvalidFileException">The file is damaged.</exception>
    public ImageSetFeatures Read(IFeatureExtractor? extractor, Action<int, int> progress)
    {
        (float[] Features, float[] Spatial, float[] Logits)? images = extractor is null || !HasImages ? null : Extract(extractor, progress);
        return new ImageSetFeatures
        {
            // Statistics in the file are of the whole set, its images often of a part: the file's come first, as in the ADM evaluator.
            Statistics = HasStatistics ? Statistics("mu", "sigma") : images is null ? null : FeatureStatistics.Of(images.Value.Features, extractor!.FeatureCount),
            SpatialStatistics = _npz is not null && _npz.Has("mu_s") && _npz.Has("sigma_s") ? Statistics("mu_s", "sigma_s")
                : images is null || extractor!.SpatialCount == 0 || HasStatistics ? null : FeatureStatistics.Of(images.Value.Spatial, extractor.SpatialCount),
            Features = images?.Features,
            FeatureCount = extractor?.FeatureCount ?? 0,
            Logits = images?.Logits,
            ClassCount = extractor?.ClassCount ?? 0,
        };
    }

    /// <inheritdoc/>
    public void Dispose() => _npz?.Dispose();

    private static string[] ListFiles(string folder)
    {
        try
        {
            return Directory.GetFiles(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InvalidFileException(folder, "the folder cannot be listed", e);
        }
    }

    private FeatureStatistics Statistics(string mean, string covariance)
    {
        var mu = _npz!.ReadNumbers(mean, [null]);
        return new FeatureStatistics(mu, _npz.ReadNumbers(covariance, mu.Length, mu.Length));
    }

    private (float[] Features, float[] Spatial, float[] Logits) Extract(IFeatureExtractor extractor, Action<int, int> progress)
    {
        var (features, spatial, logits) = (new List<float>(), new List<float>(), new List<float>());
        var done = 0;
        foreach (var (batch, total) in Batches())
        {
            float[] f = new float[batch.Length * extractor.FeatureCount], s = new float[batch.Length * extractor.SpatialCount], l = new float[batch.Length * extractor.ClassCount];
            extractor.Extract(batch, f, s, l);
            features.AddRange(f);
            spatial.AddRange(s);
            logits.AddRange(l);
            progress(done += batch.Length, total);
        }

        return ([.. features], [.. spatial], [.. logits]);
    }

    private IEnumerable<(Image[] Batch, int Total)> Batches()
    {
        if (_npz is null)
        {
            foreach (var files in _files.Chunk(Together)) yield return ([.. files.Select(PngReader.ReadPixels)], _files.Length);
            yield break;
        }

        using var array = _npz.Begin(Images);
        array.CheckShape(null, null, null, 3);
        var (count, height, width) = (array.Shape[0], array.Shape[1], array.Shape[2]);
        if (array.Type != ElementType.U8 || count > int.MaxValue || height > 1 << 14 || width > 1 << 14)
            throw new InvalidFileException(_path, $"the array {Images} is {array.Type} {array.ShapeText}; U8 images [N,height,width,3] were expected");
        for (long first = 0; first < count; first += Together)
        {
            var batch = new Image[Math.Min(Together, count - first)];
            for (var i = 0; i < batch.Length; i++)
            {
                var pixels = new byte[height * width * 3];
                array.Read(pixels);
                batch[i] = new Image((int)width, (int)height, 3, pixels);
            }

            yield return (batch, (int)count);
        }
    }
}

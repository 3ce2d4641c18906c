using System.Security.Cryptography;
using DiTRuntime.Imaging;

namespace DiTRuntime.Cli.Sharding;

/// <summary>
/// The part file of a shard while it is made: images go to a log beside it, and the file itself appears whole when the last one is there. A shard that
/// was ended goes on behind the images of its log; one that is finished is left as it is.
/// </summary>
internal sealed class ShardPart : IDisposable
{
    /// <summary>What the log's name adds to the part's.</summary>
    public const string LogSuffix = ".progress";

    private readonly string _path;
    private readonly PartDescription _description;
    private readonly int[] _images;
    private readonly int _side;
    private readonly PartLog? _log;

    private ShardPart(string path, PartDescription description, int[] images, int side, PartLog? log) =>
        (_path, _description, _images, _side, _log) = (path, description, images, side, log);

    /// <summary>Images that are there: the first ones of the shard.</summary>
    public int Count => _log?.Count ?? _images.Length;

    /// <summary>Opens what is there of a part, or begins it.</summary>
    /// <param name="path">The part's file.</param>
    /// <param name="description">What it will say about itself; without a digest.</param>
    /// <param name="images">Index of each of its images, ascending.</param>
    /// <param name="side">Side of an image in pixels.</param>
    /// <exception cref="OutputException">The file, or the log, is of another run or shard, or held by another process.</exception>
    /// <exception cref="InvalidFileException">The file is there and damaged, or no part.</exception>
    public static ShardPart Open(string path, PartDescription description, int[] images, int side)
    {
        if (IsFinished(path, description, images)) return new ShardPart(path, description, images, side, log: null);
        var log = PartLog.Open(path + LogSuffix, description, images, side);
        // The log is held: whoever was writing the file has been killed.
        AtomicFile.DiscardAbandoned(path);
        return new ShardPart(path, description, images, side, log);
    }

    /// <summary>Keeps the next image.</summary>
    /// <exception cref="OutputException">It cannot be written.</exception>
    public void Append(Image image) => _log!.Append(image);

    /// <summary>Makes the file out of the log, where it is not there yet, and removes the log.</summary>
    /// <exception cref="OutputException">It cannot be written.</exception>
    public void Complete()
    {
        if (_log is not null) AtomicFile.Write(_path, Write);
        _log?.Dispose();
        try
        {
            File.Delete(_path + LogSuffix);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The next run that finds the part finished tries again.
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _log?.Dispose();

    private static bool IsFinished(string path, PartDescription description, int[] images)
    {
        if (!File.Exists(path)) return false;
        using var part = PartFile.Open(path);
        const string advice = "remove it, or give another --npz";
        if (description.Run.DifferenceOf(part.Description.Run) is { } difference) throw new OutputException(path, $"the images in it are of another run ({difference}); {advice}");
        if (!part.Indices.AsSpan().SequenceEqual(images)) throw new OutputException(path, $"the images in it are those of shard {part.Description.Shard}; {advice}");
        return true;
    }

    private void Write(Stream stream)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using var writer = new NpzWriter(stream, _images.Length, _side, _side);
        foreach (var image in _log!.ReadAll())
        {
            hash.AppendData(image.Pixels);
            writer.Add(image);
        }

        writer.AddArray(PartFile.IndicesName, [.. _images.Select(image => (long)image)]);
        writer.AddFile(PartFile.DescriptionName, (_description with { Digest = Convert.ToHexStringLower(hash.GetHashAndReset()) }).ToJson());
        writer.Complete();
    }
}

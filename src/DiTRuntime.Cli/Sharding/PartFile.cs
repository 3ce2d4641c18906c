using System.Security.Cryptography;
using DiTRuntime.Calibration.Evaluation;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Cli.Sharding;

/// <summary>
/// A finished part: an .npz with `arr_0` U8 [n, height, width, 3], `indices` I64 [n] (the images' places in the whole run, ascending) and
/// part.json (<see cref="PartDescription"/>). Its images are read front to back; one is in memory at a time.
/// </summary>
internal sealed class PartFile : IDisposable
{
    /// <summary>Names of its members.</summary>
    public const string ImagesName = "arr_0", IndicesName = "indices", DescriptionName = "part.json";

    private const int Channels = 3, MaxSide = 1 << 14, MaxDescriptionBytes = 64 << 10;

    private readonly NpzReader _npz;
    private readonly NpyArray _images;
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

    private PartFile(string path, NpzReader npz)
    {
        (Path, _npz) = (path, npz);
        if (!npz.Has(ImagesName) || !npz.Has(IndicesName) || npz.TryReadFile(DescriptionName, MaxDescriptionBytes) is not { } json)
            throw Wrong($"not a part of a sharded run: no {ImagesName}, {IndicesName} and {DescriptionName} in it");
        Description = PartDescription.Read(path, json);
        Indices = ReadIndices(npz);
        _images = npz.Begin(ImagesName);
        try
        {
            var shape = _images.Shape;
            if (_images.Type != ElementType.U8 || shape.Length != 4 || shape[0] != Indices.Length || shape[1] is < 1 or > MaxSide || shape[2] is < 1 or > MaxSide || shape[3] != Channels)
                throw Wrong($"{ImagesName} is {_images.Type} {_images.ShapeText}; U8 [{Indices.Length},height,width,{Channels}] was expected");
            (Height, Width) = ((int)shape[1], (int)shape[2]);
            if (Description.Run.Size != $"{Width}x{Height}") throw Wrong($"{ImagesName} holds images of {Width}x{Height} pixels; its description says {Description.Run.Size}");
            // Parts are stored as they are: the file's own length bounds what comes out of it.
            if (_images.Count > new FileInfo(path).Length) throw Wrong($"{ImagesName} is compressed or its size is made up");
        }
        catch
        {
            _images.Dispose();
            throw;
        }
    }

    /// <summary>The path as the user gave it.</summary>
    public string Path { get; }

    /// <summary>What it says about itself.</summary>
    public PartDescription Description { get; }

    /// <summary>Where each image belongs in the whole run; ascending.</summary>
    public int[] Indices { get; }

    /// <summary>Rows of an image.</summary>
    public int Height { get; }

    /// <summary>Columns of an image.</summary>
    public int Width { get; }

    /// <summary>Opens a part and checks all but its pixels.</summary>
    /// <exception cref="InvalidFileException">The file is missing, damaged, or no part.</exception>
    public static PartFile Open(string path)
    {
        var npz = NpzReader.Open(path);
        try
        {
            return new PartFile(path, npz);
        }
        catch
        {
            npz.Dispose();
            throw;
        }
    }

    /// <summary>Reads the next image.</summary>
    /// <param name="pixels">[height, width, 3].</param>
    /// <exception cref="InvalidFileException">The data end too early.</exception>
    public void Read(Span<byte> pixels)
    {
        _images.Read(pixels);
        _hash.AppendData(pixels);
    }

    /// <summary>Checks, after the last image, that all pixels were those of the run.</summary>
    /// <exception cref="InvalidFileException">They were not.</exception>
    public void CheckDigest()
    {
        if (Convert.ToHexStringLower(_hash.GetHashAndReset()) != Description.Digest) throw Wrong($"{ImagesName} is damaged: its pixels have another check sum than {DescriptionName} says");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _hash.Dispose();
        _images.Dispose();
        _npz.Dispose();
    }

    private int[] ReadIndices(NpzReader npz)
    {
        using var array = npz.Begin(IndicesName);
        array.CheckShape([null]);
        var count = Description.Run.Count;
        if (array.Type != ElementType.I64 || array.Count > count) throw Wrong($"{IndicesName} is {array.Type} {array.ShapeText}; I64 [n] with n up to {count} was expected");
        var indices = new List<int>();
        array.ReadNumbers(array.Count, (_, value) =>
        {
            if (!(value > (indices.Count == 0 ? -1 : indices[^1]) && value < count)) throw Wrong($"{IndicesName} holds {value}; ascending numbers from 0 to {count - 1} were expected");
            indices.Add((int)value);
        });
        return [.. indices];
    }

    private InvalidFileException Wrong(string problem) => new(Path, problem);
}

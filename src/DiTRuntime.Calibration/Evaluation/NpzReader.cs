using System.IO.Compression;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Calibration.Evaluation;

/// <summary>Reads NumPy's .npz: a zip, stored or deflated, of .npy arrays. Only the directory is read when it is opened.</summary>
/// <remarks>
/// Arrays are read front to back, so a file of many images is never in memory as a whole. Memory grows with the data that really come,
/// not with what a header claims.
/// </remarks>
public sealed class NpzReader : IDisposable
{
    private const string Extension = ".npy";

    private readonly string _path;
    private readonly ZipArchive _archive;
    private readonly Dictionary<string, ZipArchiveEntry> _entries = new(StringComparer.Ordinal);

    private NpzReader(string path, ZipArchive archive)
    {
        _path = path;
        _archive = archive;
        foreach (var entry in archive.Entries)
        {
            if (!entry.FullName.EndsWith(Extension, StringComparison.Ordinal)) continue;
            TensorRules.CheckTensorCount(path, (ulong)_entries.Count + 1);
            var name = entry.FullName[..^Extension.Length];
            TensorRules.CheckName(path, name);
            if (!_entries.TryAdd(name, entry)) throw new InvalidFileException(path, $"the array {name} occurs twice");
        }
    }

    /// <summary>Names of the arrays.</summary>
    public IReadOnlyCollection<string> Names => _entries.Keys;

    /// <summary>Opens a file.</summary>
    /// <exception cref="InvalidFileException">The file is missing, no zip, or damaged.</exception>
    public static NpzReader Open(string path)
    {
        ZipArchive? archive = null;
        try
        {
            archive = NpzFailure.Guard(path, () =>
            {
                var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 16);
                try
                {
                    return new ZipArchive(stream, ZipArchiveMode.Read);
                }
                catch
                {
                    stream.Dispose();
                    throw;
                }
            });
            return NpzFailure.Guard(path, () => new NpzReader(path, archive));
        }
        catch
        {
            archive?.Dispose();
            throw;
        }
    }

    /// <summary>Whether the file holds an array.</summary>
    public bool Has(string name) => _entries.ContainsKey(name);

    /// <summary>Begins to read an array: its header is read and checked. Arrays are read one after the other.</summary>
    /// <exception cref="InvalidFileException">There is no such array, or its header is not understood.</exception>
    public NpyArray Begin(string name)
    {
        if (!_entries.TryGetValue(name, out var entry))
            throw new InvalidFileException(_path, $"no array {name}; found {(_entries.Count == 0 ? "none" : string.Join(", ", _entries.Keys.Take(8)))}");
        return NpzFailure.Guard(_path, () =>
        {
            var stream = entry.Open();
            try
            {
                return new NpyArray(_path, name, stream, entry.Length);
            }
            catch
            {
                stream.Dispose();
                throw;
            }
        });
    }

    /// <summary>Reads a member that is no array.</summary>
    /// <param name="name">Its full name.</param>
    /// <param name="maxBytes">The most it may have.</param>
    /// <returns>Null where there is none.</returns>
    /// <exception cref="InvalidFileException">It is damaged or larger.</exception>
    public byte[]? TryReadFile(string name, int maxBytes) => NpzFailure.Guard(_path, () =>
    {
        if (_archive.GetEntry(name) is not { } entry) return null;
        if (entry.Length > maxBytes) throw new InvalidFileException(_path, $"{name} has {entry.Length} bytes; at most {maxBytes} are read");
        using var stream = entry.Open();
        var content = new byte[entry.Length];
        stream.ReadExactly(content);
        return content;
    });

    /// <summary>Reads a whole array of numbers as double precision.</summary>
    /// <param name="name">Name of the array.</param>
    /// <param name="shape">Expected extents; null accepts any extent from 1.</param>
    /// <exception cref="InvalidFileException">The array is missing, of another shape, truncated, or a value is not finite.</exception>
    public double[] ReadNumbers(string name, params ReadOnlySpan<long?> shape)
    {
        using var array = Begin(name);
        array.CheckShape(shape);
        return array.ReadNumbers();
    }

    /// <inheritdoc/>
    public void Dispose() => _archive.Dispose();
}

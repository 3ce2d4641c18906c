using System.IO.Compression;
using System.Text;

namespace DiTRuntime.Tests.Calibration.Evaluation;

/// <summary>Writes .npz files as NumPy does, also wrong ones.</summary>
internal static class NpzFiles
{
    public static string Save(string path, CompressionLevel level, params (string Name, byte[] Content)[] arrays)
    {
        using var stream = File.Create(path);
        using var archive = new ZipArchive(stream, ZipArchiveMode.Create);
        foreach (var (name, content) in arrays)
        {
            using var entry = archive.CreateEntry($"{name}.npy", level).Open();
            entry.Write(content);
        }

        return path;
    }

    public static byte[] Npy(string descr, string shape, byte[] data, int version = 1)
    {
        var header = Encoding.ASCII.GetBytes($"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        var length = BitConverter.GetBytes(header.Length);
        return [0x93, .. "NUMPY"u8, (byte)version, 0, .. length.AsSpan(0, version == 1 ? 2 : 4), .. header, .. data];
    }

    public static byte[] Bytes(params double[] values) => [.. values.SelectMany(BitConverter.GetBytes)];

    /// <summary>The same bytes with a text in place of another of its length.</summary>
    public static byte[] Replace(this byte[] bytes, string found, string replacement) =>
        Encoding.Latin1.GetBytes(Encoding.Latin1.GetString(bytes).Replace(found, replacement, StringComparison.Ordinal));
}

using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Compilation;

/// <summary>
/// The file of a compiled kernel: "DITKERN1", the SHA-256 of all that follows, then six fields, each a 32-bit length and its bytes: kernel,
/// compiler, hash, title, log (UTF-8 texts) and code.
/// </summary>
internal static class KernelFile
{
    private const int HashLength = SHA256.HashSizeInBytes;

    private static ReadOnlySpan<byte> Magic => "DITKERN1"u8;

    /// <summary>Writes a file.</summary>
    public static void Write(Stream stream, CachedKernel cached)
    {
        using var body = new MemoryStream();
        foreach (var text in new[] { cached.Key.Kernel, cached.Key.Compiler, cached.Key.Hash, cached.Image.Title, cached.Image.Log })
            WriteField(body, Encoding.UTF8.GetBytes(text));
        WriteField(body, cached.Image.Code);
        var bytes = body.GetBuffer().AsSpan(0, (int)body.Length);
        stream.Write(Magic);
        stream.Write(SHA256.HashData(bytes));
        stream.Write(bytes);
    }

    /// <summary>Reads a file.</summary>
    /// <returns>Null where it is not one, or not whole.</returns>
    public static CachedKernel? Parse(ReadOnlySpan<byte> file)
    {
        var start = Magic.Length + HashLength;
        if (file.Length < start || !file.StartsWith(Magic)) return null;
        var rest = file[start..];
        if (!SHA256.HashData(rest).AsSpan().SequenceEqual(file[Magic.Length..start])) return null;
        // The checksum has vouched for the lengths; a file written by other hands with a right checksum is refused below all the same.
        if (!ReadText(ref rest, out var kernel) || !ReadText(ref rest, out var compiler) || !ReadText(ref rest, out var hash)
            || !ReadText(ref rest, out var title) || !ReadText(ref rest, out var log) || !ReadField(ref rest, out var code) || !rest.IsEmpty) return null;
        return new CachedKernel(new KernelKey(kernel, compiler, hash), new KernelImage(title, code.ToArray(), log));
    }

    private static void WriteField(MemoryStream stream, ReadOnlySpan<byte> bytes)
    {
        Span<byte> length = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(length, bytes.Length);
        stream.Write(length);
        stream.Write(bytes);
    }

    private static bool ReadText(ref ReadOnlySpan<byte> rest, out string text)
    {
        var found = ReadField(ref rest, out var bytes);
        text = Encoding.UTF8.GetString(bytes);
        return found;
    }

    private static bool ReadField(ref ReadOnlySpan<byte> rest, out ReadOnlySpan<byte> field)
    {
        field = default;
        if (!BinaryPrimitives.TryReadInt32LittleEndian(rest, out var length) || length < 0 || length > rest.Length - sizeof(int)) return false;
        field = rest.Slice(sizeof(int), length);
        rest = rest[(sizeof(int) + length)..];
        return true;
    }
}

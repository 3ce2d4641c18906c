using System.Buffers.Binary;

namespace DiTRuntime.Imaging;

/// <summary>What the PNG writer and reader share (PNG specification, third edition).</summary>
internal static class PngFormat
{
    /// <summary>Chunk length, type and check sum: what a chunk takes beside its data.</summary>
    public const int ChunkOverhead = 12;

    private static readonly uint[] s_crcTable = MakeCrcTable();

    /// <summary>The row filters by their number in the file (section 9.2).</summary>
    public enum Filter : byte
    {
        /// <summary>The byte itself.</summary>
        None,

        /// <summary>Less the byte of the pixel to the left.</summary>
        Sub,

        /// <summary>Less the byte above.</summary>
        Up,

        /// <summary>Less the mean of both, rounded down.</summary>
        Average,

        /// <summary>Less the nearest of left, above and upper left to left + above − upper left.</summary>
        Paeth,
    }

    /// <summary>The eight bytes every file begins with.</summary>
    public static ReadOnlySpan<byte> Signature => [0x89, (byte)'P', (byte)'N', (byte)'G', 0x0D, 0x0A, 0x1A, 0x0A];

    /// <summary>A chunk type as a number, for comparison.</summary>
    public static uint Type(ReadOnlySpan<byte> name) => BinaryPrimitives.ReadUInt32BigEndian(name);

    /// <summary>CRC-32 of ISO 3309, over the chunk's type and data.</summary>
    public static uint Crc(ReadOnlySpan<byte> type, ReadOnlySpan<byte> data) => ~Append(Append(uint.MaxValue, type), data);

    /// <summary>The Paeth predictor (section 9.4).</summary>
    public static byte Paeth(byte left, byte above, byte upperLeft)
    {
        var estimate = left + above - upperLeft;
        var toLeft = Math.Abs(estimate - left);
        var toAbove = Math.Abs(estimate - above);
        var toUpperLeft = Math.Abs(estimate - upperLeft);
        return toLeft <= toAbove && toLeft <= toUpperLeft ? left : toAbove <= toUpperLeft ? above : upperLeft;
    }

    private static uint Append(uint crc, ReadOnlySpan<byte> data)
    {
        foreach (var value in data) crc = s_crcTable[(byte)(crc ^ value)] ^ (crc >> 8);
        return crc;
    }

    private static uint[] MakeCrcTable()
    {
        var table = new uint[256];
        for (var i = 0u; i < table.Length; i++)
        {
            var crc = i;
            for (var bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) * 0xEDB88320);
            table[i] = crc;
        }

        return table;
    }
}

namespace DiTRuntime.Quantization;

/// <summary>Codes of 1 to 16 bits one after another without gaps, little-endian: the first code in the lowest bits of the first byte.</summary>
public static class BitPacking
{
    /// <summary>Bytes that so many codes take, the last byte filled up with zeros.</summary>
    public static int ByteCount(long codeCount, int bits) => checked((int)((codeCount * bits + 7) / 8));

    /// <summary>Packs codes.</summary>
    /// <param name="codes">Each below 2^bits.</param>
    /// <param name="bits">1 to 16.</param>
    /// <param name="packed"><see cref="ByteCount"/> bytes, overwritten.</param>
    public static void Pack(ReadOnlySpan<ushort> codes, int bits, Span<byte> packed)
    {
        uint pending = 0;
        var (pendingBits, at) = (0, 0);
        foreach (var code in codes)
        {
            pending |= (uint)code << pendingBits;
            for (pendingBits += bits; pendingBits >= 8; pendingBits -= 8, pending >>= 8) packed[at++] = (byte)pending;
        }

        if (pendingBits > 0) packed[at] = (byte)pending;
    }

    /// <summary>Unpacks codes.</summary>
    /// <param name="packed">What <see cref="Pack"/> made.</param>
    /// <param name="bits">1 to 16.</param>
    /// <param name="firstCode">Index of the first code wanted.</param>
    /// <param name="codes">As many codes as are wanted.</param>
    public static void Unpack(ReadOnlySpan<byte> packed, int bits, long firstCode, Span<ushort> codes)
    {
        var bit = firstCode * bits;
        var mask = (1u << bits) - 1;
        for (var i = 0; i < codes.Length; i++, bit += bits)
        {
            var at = (int)(bit >> 3);
            uint word = packed[at];
            if (at + 1 < packed.Length) word |= (uint)packed[at + 1] << 8;
            if (at + 2 < packed.Length) word |= (uint)packed[at + 2] << 16;
            codes[i] = (ushort)((word >> (int)(bit & 7)) & mask);
        }
    }
}

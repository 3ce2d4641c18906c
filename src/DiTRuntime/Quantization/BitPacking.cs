using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;

namespace DiTRuntime.Quantization;

/// <summary>Codes of 1 to 16 bits one after another without gaps, little-endian: the first code in the lowest bits of the first byte.</summary>
public static class BitPacking
{
    /// <summary>Eight codes of b bits are b whole bytes: the step of the fast paths.</summary>
    private const int Step = 8;

    /// <summary>The lowest bit of every byte.</summary>
    private const ulong EveryByte = 0x0101010101010101;

    /// <summary>The lowest bit of every 16 bits.</summary>
    private const ulong EveryShort = 0x0001000100010001;

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

    /// <summary>Packs codes of at most a byte, eight at a time.</summary>
    /// <param name="codes">Each below 2^bits.</param>
    /// <param name="bits">1 to 8.</param>
    /// <param name="packed"><see cref="ByteCount"/> bytes, overwritten.</param>
    public static void Pack(ReadOnlySpan<byte> codes, int bits, Span<byte> packed)
    {
        packed = packed[..ByteCount(codes.Length, bits)];
        if (bits == 8)
        {
            codes.CopyTo(packed);
            return;
        }

        // A whole word is stored each time; what it holds beyond its bits is overwritten by the next one.
        var i = 0;
        for (; i + Step <= codes.Length && packed.Length >= sizeof(ulong); i += Step, packed = packed[bits..])
            BinaryPrimitives.WriteUInt64LittleEndian(packed, Squeeze(BinaryPrimitives.ReadUInt64LittleEndian(codes[i..]), bits));
        var rest = codes[i..];
        packed.Clear();
        for (var j = 0; j < rest.Length; j++)
        {
            var bit = j * bits;
            packed[bit >> 3] |= (byte)(rest[j] << (bit & 7));
            if ((bit & 7) + bits > 8) packed[(bit >> 3) + 1] |= (byte)(rest[j] >> (8 - (bit & 7)));
        }
    }

    /// <summary>Unpacks codes.</summary>
    /// <param name="packed">What <see cref="Pack(ReadOnlySpan{ushort}, int, Span{byte})"/> made.</param>
    /// <param name="bits">1 to 16.</param>
    /// <param name="firstCode">Index of the first code wanted.</param>
    /// <param name="codes">As many codes as are wanted.</param>
    public static void Unpack(ReadOnlySpan<byte> packed, int bits, long firstCode, Span<ushort> codes)
    {
        var bit = firstCode * bits;
        var i = UnpackFours(packed, bits, ref bit, codes);
        var mask = (1u << bits) - 1;
        for (; i < codes.Length; i++, bit += bits)
        {
            var at = (int)(bit >> 3);
            uint word = packed[at];
            if (at + 1 < packed.Length) word |= (uint)packed[at + 1] << 8;
            if (at + 2 < packed.Length) word |= (uint)packed[at + 2] << 16;
            codes[i] = (ushort)((word >> (int)(bit & 7)) & mask);
        }
    }

    /// <summary>Four codes at a time, as long as whole words can be read (of little-endian machines, as all are that .NET runs on); returns how many codes that were.</summary>
    private static int UnpackFours(ReadOnlySpan<byte> packed, int bits, ref long bit, Span<ushort> codes)
    {
        // Four codes are 4·bits bits, so the shift into the first byte stays what it is, or alternates between two values four apart.
        if ((int)(bit & 7 | (uint)(4 * bits) & 4) + 4 * bits > 64) return 0;
        var whole = packed.Length < sizeof(ulong) ? 0 : Math.Min(codes.Length, ((packed.Length - sizeof(ulong) + 1) * 8L - bit + 4 * bits - 1) / (4 * bits) * 4);
        ref var source = ref MemoryMarshal.GetReference(packed);
        ref var target = ref MemoryMarshal.GetReference(codes);
        var mask = EveryShort * ((1ul << bits) - 1);
        var i = 0;
        var at = bit;
        for (; i + 4 <= whole; i += 4, at += 4 * bits)
        {
            var word = Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref source, (nint)(at >> 3))) >> (int)(at & 7);
            Unsafe.WriteUnaligned(ref Unsafe.As<ushort, byte>(ref Unsafe.Add(ref target, i)), Bmi2.X64.IsSupported ? Bmi2.X64.ParallelBitDeposit(word, mask) : SpreadFour(word, bits));
        }

        bit = at;
        return i;
    }

    /// <summary>Unpacks codes of at most a byte from the first on, eight at a time.</summary>
    /// <param name="packed">What <see cref="Pack(ReadOnlySpan{byte}, int, Span{byte})"/> made.</param>
    /// <param name="bits">1 to 8.</param>
    /// <param name="codes">As many codes as are wanted.</param>
    public static void Unpack(ReadOnlySpan<byte> packed, int bits, Span<byte> codes)
    {
        packed = packed[..ByteCount(codes.Length, bits)];
        if (bits == 8)
        {
            packed.CopyTo(codes);
            return;
        }

        for (; codes.Length >= Step && packed.Length >= sizeof(ulong); codes = codes[Step..], packed = packed[bits..])
            BinaryPrimitives.WriteUInt64LittleEndian(codes, Spread(BinaryPrimitives.ReadUInt64LittleEndian(packed), bits));
        var mask = (1 << bits) - 1;
        for (var j = 0; j < codes.Length; j++)
        {
            var (at, shift) = (j * bits >> 3, j * bits & 7);
            int word = packed[at];
            if (shift + bits > 8) word |= packed[at + 1] << 8;
            codes[j] = (byte)((word >> shift) & mask);
        }
    }

    /// <summary>The low bits of eight bytes, side by side.</summary>
    private static ulong Squeeze(ulong bytes, int bits)
    {
        var mask = EveryByte * ((1ul << bits) - 1);
        if (Bmi2.X64.IsSupported) return Bmi2.X64.ParallelBitExtract(bytes, mask);
        ulong word = 0;
        for (var i = 0; i < Step; i++) word |= ((bytes >> (8 * i)) & ((1ul << bits) - 1)) << (bits * i);
        return word;
    }

    /// <summary>The inverse of <see cref="Squeeze"/>.</summary>
    private static ulong Spread(ulong word, int bits)
    {
        var mask = EveryByte * ((1ul << bits) - 1);
        if (Bmi2.X64.IsSupported) return Bmi2.X64.ParallelBitDeposit(word, mask);
        ulong bytes = 0;
        for (var i = 0; i < Step; i++) bytes |= ((word >> (bits * i)) & ((1ul << bits) - 1)) << (8 * i);
        return bytes;
    }

    /// <summary>Four codes of b bits in 16 bits each.</summary>
    private static ulong SpreadFour(ulong word, int bits)
    {
        ulong codes = 0;
        for (var i = 0; i < 4; i++) codes |= ((word >> (bits * i)) & ((1ul << bits) - 1)) << (16 * i);
        return codes;
    }
}

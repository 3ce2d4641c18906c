using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace DiTRuntime.Backends.Cpu.LowBit;

/// <summary>Packed codes to one byte a code, eight at a time.</summary>
internal static unsafe class CodeReader
{
    /// <summary>Codes of one step.</summary>
    public const int Step = 8;

    /// <summary>The next eight codes, the first in the lowest byte.</summary>
    /// <param name="source">Their <paramref name="bits"/> bytes; not one more is read.</param>
    /// <param name="bits">2, 3, 4, 5, 6 or 8.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong ReadEight(byte* source, int bits)
    {
        var word = bits switch
        {
            8 => Unsafe.ReadUnaligned<ulong>(source),
            4 => Unsafe.ReadUnaligned<uint>(source),
            2 => Unsafe.ReadUnaligned<ushort>(source),
            3 => Unsafe.ReadUnaligned<ushort>(source) | (ulong)source[2] << 16,
            5 => Unsafe.ReadUnaligned<uint>(source) | (ulong)source[4] << 32,
            _ => Unsafe.ReadUnaligned<uint>(source) | (ulong)Unsafe.ReadUnaligned<ushort>(source + 4) << 32,
        };
        if (bits == 8) return word;
        var mask = Repeat((byte)((1 << bits) - 1));
        return Bmi2.X64.IsSupported ? Bmi2.X64.ParallelBitDeposit(word, mask) : Spread(word, bits);
    }

    /// <summary>The last codes of a row, fewer than eight; zeros after them.</summary>
    public static ulong ReadLast(byte* source, int bits, int count)
    {
        ulong word = 0;
        for (var i = 0; i < (count * bits + 7) / 8; i++) word |= (ulong)source[i] << (8 * i);
        var kept = Spread(word, bits);
        return kept & (ulong.MaxValue >> (8 * (Step - count)));
    }

    /// <summary>The sum of the eight bytes: pairs of them in 16 bits, then all four pairs by one multiplication.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Sum(ulong eight)
    {
        const ulong evenBytes = 0x00ff00ff00ff00ff;
        var pairs = (eight & evenBytes) + ((eight >> 8) & evenBytes);
        return (int)((pairs * 0x0001000100010001ul) >> 48);
    }

    /// <summary>A byte in all eight places.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Repeat(byte value) => value * 0x0101010101010101ul;

    private static ulong Spread(ulong word, int bits)
    {
        ulong codes = 0;
        for (var i = 0; i < Step; i++) codes |= ((word >> (i * bits)) & ((1ul << bits) - 1)) << (8 * i);
        return codes;
    }
}

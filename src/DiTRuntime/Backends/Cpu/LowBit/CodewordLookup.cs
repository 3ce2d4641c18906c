using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DiTRuntime.Backends.Cpu.LowBit;

/// <summary>The vectors of a row side by side: a load and a store a codeword, whatever its length.</summary>
/// <remarks>Codewords lie in slots of 4, 8 or 16 bytes. A whole slot is stored each time; what it holds beyond the vector is overwritten by the next one.</remarks>
internal readonly unsafe struct CodewordLookup
{
    /// <summary>Codewords, a slot each.</summary>
    public byte* Vectors { get; init; }

    /// <summary>Bytes of a slot.</summary>
    public int SlotBytes { get; init; }

    /// <summary>Bytes of a codeword, at most those of its slot.</summary>
    public int VectorBytes { get; init; }

    /// <summary>Where each codebook entry's vector lies, u16 or u32, or null where it is the entry's own number.</summary>
    public byte* Table { get; init; }

    /// <summary>Whether <see cref="Table"/> is of 32 bits.</summary>
    public bool IsWideTable { get; init; }

    /// <summary>Bytes that a slot takes for a vector.</summary>
    public static int Slot(int vectorBytes) => vectorBytes <= 4 ? 4 : vectorBytes <= 8 ? 8 : 16;

    /// <summary>Looks up.</summary>
    /// <param name="codes">in [count].</param>
    /// <param name="count">Vectors.</param>
    /// <param name="entry">The first vector's codebook times k.</param>
    /// <param name="bookStep">k where each position has the next codebook, else 0.</param>
    /// <param name="line">out: count vectors, and up to 16 bytes more.</param>
    public void Read(ushort* codes, int count, int entry, int bookStep, byte* line)
    {
        switch (SlotBytes)
        {
            case 4: ReadSlots<uint>(codes, count, entry, bookStep, line); break;
            case 8: ReadSlots<ulong>(codes, count, entry, bookStep, line); break;
            default: ReadSlots<Vector128<byte>>(codes, count, entry, bookStep, line); break;
        }
    }

    private void ReadSlots<TSlot>(ushort* codes, int count, int entry, int bookStep, byte* line)
        where TSlot : unmanaged
    {
        if (Table == null) Copy<TSlot, OwnNumber>(codes, count, entry, bookStep, line);
        else if (IsWideTable) Copy<TSlot, WideNumber>(codes, count, entry, bookStep, line);
        else Copy<TSlot, ShortNumber>(codes, count, entry, bookStep, line);
    }

    private void Copy<TSlot, TNumber>(ushort* codes, int count, int entry, int bookStep, byte* line)
        where TSlot : unmanaged
        where TNumber : struct, INumber
    {
        var vectors = (TSlot*)Vectors;
        var table = Table;
        var step = VectorBytes;
        var i = 0;
        for (; i <= count - 4; i += 4, line += 4 * step, entry += 4 * bookStep)
        {
            var v0 = Unsafe.ReadUnaligned<TSlot>(vectors + TNumber.Of(table, entry + codes[i]));
            var v1 = Unsafe.ReadUnaligned<TSlot>(vectors + TNumber.Of(table, entry + bookStep + codes[i + 1]));
            var v2 = Unsafe.ReadUnaligned<TSlot>(vectors + TNumber.Of(table, entry + 2 * bookStep + codes[i + 2]));
            var v3 = Unsafe.ReadUnaligned<TSlot>(vectors + TNumber.Of(table, entry + 3 * bookStep + codes[i + 3]));
            Unsafe.WriteUnaligned(line, v0);
            Unsafe.WriteUnaligned(line + step, v1);
            Unsafe.WriteUnaligned(line + 2 * step, v2);
            Unsafe.WriteUnaligned(line + 3 * step, v3);
        }

        for (; i < count; i++, line += step, entry += bookStep)
            Unsafe.WriteUnaligned(line, Unsafe.ReadUnaligned<TSlot>(vectors + TNumber.Of(table, entry + codes[i])));
    }

    /// <summary>The number of an entry's vector.</summary>
    private interface INumber
    {
        static abstract nint Of(byte* table, int entry);
    }

    private readonly struct OwnNumber : INumber
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static nint Of(byte* table, int entry) => entry;
    }

    private readonly struct ShortNumber : INumber
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static nint Of(byte* table, int entry) => Unsafe.ReadUnaligned<ushort>(table + 2 * (nint)entry);
    }

    private readonly struct WideNumber : INumber
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static nint Of(byte* table, int entry) => (nint)Unsafe.ReadUnaligned<uint>(table + 4 * (nint)entry);
    }
}

using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DiTRuntime.Backends.Cpu.LowBit;

/// <summary>The vectors of a row side by side: a load and a store a codeword, whatever its length.</summary>
/// <remarks>Codewords lie in slots of 4, 8 or 16 bytes. A whole slot is stored each time; what it holds beyond the vector is overwritten by the next one.</remarks>
internal readonly unsafe partial struct CodewordLookup
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

    /// <summary>k where each position along the row has the next codebook, else 0.</summary>
    public int BookStep { get; init; }

    /// <summary>Bytes that a slot takes for a vector.</summary>
    public static int Slot(int vectorBytes) => vectorBytes <= 4 ? 4 : vectorBytes <= 8 ? 8 : 16;

    /// <summary>Looks up.</summary>
    /// <typeparam name="TCode">Byte or ushort.</typeparam>
    /// <param name="codes">in [count].</param>
    /// <param name="count">Vectors.</param>
    /// <param name="entry">The first vector's codebook times k.</param>
    /// <param name="line">out: count vectors, and up to 16 bytes more.</param>
    public void Read<TCode>(TCode* codes, int count, int entry, byte* line)
        where TCode : unmanaged
    {
        switch (SlotBytes)
        {
            case 4: ReadSlots<TCode, uint>(codes, count, entry, line); break;
            case 8: ReadSlots<TCode, ulong>(codes, count, entry, line); break;
            default: ReadSlots<TCode, Vector128<byte>>(codes, count, entry, line); break;
        }
    }

    private void ReadSlots<TCode, TSlot>(TCode* codes, int count, int entry, byte* line)
        where TCode : unmanaged
        where TSlot : unmanaged
    {
        var vectors = (TSlot*)Vectors;
        if (Table != null && IsWideTable) Copy<TCode, TSlot, WideNumber>(codes, count, vectors, Table + 4L * entry, BookStep, VectorBytes, line);
        else if (Table != null) Copy<TCode, TSlot, ShortNumber>(codes, count, vectors, Table + 2L * entry, BookStep, VectorBytes, line);
        else if (BookStep != 0) Copy<TCode, TSlot, BookNumber>(codes, count, vectors + entry, null, BookStep, VectorBytes, line);
        else Copy<TCode, TSlot, OwnNumber>(codes, count, vectors + entry, null, BookStep, VectorBytes, line);
    }

    private static void Copy<TCode, TSlot, TNumber>(TCode* codes, nint count, TSlot* vectors, byte* table, nint bookStep, nint step, byte* line)
        where TCode : unmanaged
        where TSlot : unmanaged
        where TNumber : struct, INumber
    {
        nint entry = 0;
        for (; count >= 4; count -= 4, codes += 4, line += 4 * step, entry += 4 * bookStep)
        {
            var v0 = vectors[TNumber.Of(table, entry, Number(codes))];
            var v1 = vectors[TNumber.Of(table, entry + bookStep, Number(codes + 1))];
            var v2 = vectors[TNumber.Of(table, entry + 2 * bookStep, Number(codes + 2))];
            var v3 = vectors[TNumber.Of(table, entry + 3 * bookStep, Number(codes + 3))];
            *(TSlot*)line = v0;
            *(TSlot*)(line + step) = v1;
            *(TSlot*)(line + 2 * step) = v2;
            *(TSlot*)(line + 3 * step) = v3;
        }

        for (; count > 0; count--, codes++, line += step, entry += bookStep) *(TSlot*)line = vectors[TNumber.Of(table, entry, Number(codes))];
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static nint Number<TCode>(TCode* code)
        where TCode : unmanaged => sizeof(TCode) == 1 ? *(byte*)code : *(ushort*)code;

    /// <summary>The number of the vector that a code stands for; one type each, so that loops have no more than they need.</summary>
    private interface INumber
    {
        /// <param name="table">That of the entries, from the first book on.</param>
        /// <param name="entry">Entries of the books before the code's own.</param>
        /// <param name="code">The code.</param>
        static abstract nint Of(byte* table, nint entry, nint code);
    }

    /// <summary>One codebook.</summary>
    private readonly struct OwnNumber : INumber
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static nint Of(byte* table, nint entry, nint code) => code;
    }

    /// <summary>One for every position.</summary>
    private readonly struct BookNumber : INumber
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static nint Of(byte* table, nint entry, nint code) => entry + code;
    }

    /// <summary>A pool, with a table of 16 bits.</summary>
    private readonly struct ShortNumber : INumber
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static nint Of(byte* table, nint entry, nint code) => ((ushort*)table)[entry + code];
    }

    /// <summary>A pool, with a table of 32 bits.</summary>
    private readonly struct WideNumber : INumber
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static nint Of(byte* table, nint entry, nint code) => (nint)((uint*)table)[entry + code];
    }
}

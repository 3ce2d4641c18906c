using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DiTRuntime.Backends.Cpu.LowBit;

/// <content>Codewords of halves from eight rows at once, put together in registers: nothing is stored but the fp32 columns of a panel.</content>
internal readonly unsafe partial struct CodewordLookup
{
    /// <summary>Whether the machine has the instructions, and so many vectors are whole quads of halves.</summary>
    /// <param name="vectorBytes">Bytes of a codeword of halves.</param>
    /// <param name="count">Vectors of a row.</param>
    public static bool HasColumns(int vectorBytes, int count) => HalfTransposer.IsSupported && (vectorBytes is 8 or 16 || (vectorBytes == 4 && count % 2 == 0));

    /// <summary>Looks up codewords of eight rows: s·h, as <see cref="HalfTransposer"/> rounds it.</summary>
    /// <typeparam name="TCode">Byte or ushort.</typeparam>
    /// <param name="codes">in [8, stride], count of each row.</param>
    /// <param name="stride">Codes from one row to the next.</param>
    /// <param name="count">Vectors of a row.</param>
    /// <param name="entry">The first vector's codebook times k, the same for all rows.</param>
    /// <param name="scales">in [8]: s of each row.</param>
    /// <param name="panel">out: column of the first row in [count·d, width].</param>
    /// <param name="width">Columns of the panel.</param>
    public void ReadColumns<TCode>(TCode* codes, nint stride, int count, int entry, float* scales, float* panel, int width)
        where TCode : unmanaged
    {
        var scale = HalfTransposer.Scales(scales);
        var own = Vectors + (long)entry * SlotBytes;
        if (Table != null && IsWideTable) ReadColumns<TCode, WideNumber>(codes, stride, count, Vectors, Table + 4L * entry, scale, panel, width);
        else if (Table != null) ReadColumns<TCode, ShortNumber>(codes, stride, count, Vectors, Table + 2L * entry, scale, panel, width);
        else if (BookStep != 0) ReadColumns<TCode, BookNumber>(codes, stride, count, own, null, scale, panel, width);
        else ReadColumns<TCode, OwnNumber>(codes, stride, count, own, null, scale, panel, width);
    }

    private void ReadColumns<TCode, TNumber>(TCode* codes, nint stride, nint count, byte* vectors, byte* table, Vector256<float> scale, float* panel, nint width)
        where TCode : unmanaged
        where TNumber : struct, INumber
    {
        if (SlotBytes == 4) ReadPairs<TCode, TNumber>(codes, stride, count, vectors, table, BookStep, scale, panel, width);
        else if (SlotBytes == 8) ReadQuads<TCode, TNumber>(codes, stride, count, vectors, table, BookStep, scale, panel, width);
        else ReadEights<TCode, TNumber>(codes, stride, count, vectors, table, BookStep, scale, panel, width);
    }

    /// <summary>Codewords of two: those of two neighbouring codes are a quad.</summary>
    private static void ReadPairs<TCode, TNumber>(TCode* c0, nint stride, nint count, byte* vectors, byte* table, nint bookStep, Vector256<float> scale, float* panel, nint width)
        where TCode : unmanaged
        where TNumber : struct, INumber
    {
        TCode* c1 = c0 + stride, c2 = c1 + stride, c3 = c2 + stride, c4 = c3 + stride, c5 = c4 + stride, c6 = c5 + stride, c7 = c6 + stride;
        nint entry = 0;
        for (nint v = 0; v < count; v += 2, entry += 2 * bookStep, panel += 4 * width)
        {
            var rows01 = Vector128.Create(Quad(c0 + v, vectors, table, entry, bookStep), Quad(c1 + v, vectors, table, entry, bookStep)).AsSingle();
            var rows23 = Vector128.Create(Quad(c2 + v, vectors, table, entry, bookStep), Quad(c3 + v, vectors, table, entry, bookStep)).AsSingle();
            var rows45 = Vector128.Create(Quad(c4 + v, vectors, table, entry, bookStep), Quad(c5 + v, vectors, table, entry, bookStep)).AsSingle();
            var rows67 = Vector128.Create(Quad(c6 + v, vectors, table, entry, bookStep), Quad(c7 + v, vectors, table, entry, bookStep)).AsSingle();
            HalfTransposer.Store(rows01, rows23, rows45, rows67, scale, panel, width);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static ulong Quad(TCode* codes, byte* vectors, byte* table, nint entry, nint bookStep) =>
            ((uint*)vectors)[TNumber.Of(table, entry, Number(codes))] | (ulong)((uint*)vectors)[TNumber.Of(table, entry + bookStep, Number(codes + 1))] << 32;
    }

    /// <summary>Codewords of four: a quad each.</summary>
    private static void ReadQuads<TCode, TNumber>(TCode* c0, nint stride, nint count, byte* vectors, byte* table, nint bookStep, Vector256<float> scale, float* panel, nint width)
        where TCode : unmanaged
        where TNumber : struct, INumber
    {
        TCode* c1 = c0 + stride, c2 = c1 + stride, c3 = c2 + stride, c4 = c3 + stride, c5 = c4 + stride, c6 = c5 + stride, c7 = c6 + stride;
        nint entry = 0;
        for (nint v = 0; v < count; v++, entry += bookStep, panel += 4 * width)
        {
            var rows01 = HalfTransposer.TwoQuads(Quad(c0 + v, vectors, table, entry), Quad(c1 + v, vectors, table, entry));
            var rows23 = HalfTransposer.TwoQuads(Quad(c2 + v, vectors, table, entry), Quad(c3 + v, vectors, table, entry));
            var rows45 = HalfTransposer.TwoQuads(Quad(c4 + v, vectors, table, entry), Quad(c5 + v, vectors, table, entry));
            var rows67 = HalfTransposer.TwoQuads(Quad(c6 + v, vectors, table, entry), Quad(c7 + v, vectors, table, entry));
            HalfTransposer.Store(rows01, rows23, rows45, rows67, scale, panel, width);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static byte* Quad(TCode* code, byte* vectors, byte* table, nint entry) => vectors + 8 * TNumber.Of(table, entry, Number(code));
    }

    /// <summary>Codewords of eight: two quads each.</summary>
    private static void ReadEights<TCode, TNumber>(TCode* c0, nint stride, nint count, byte* vectors, byte* table, nint bookStep, Vector256<float> scale, float* panel, nint width)
        where TCode : unmanaged
        where TNumber : struct, INumber
    {
        TCode* c1 = c0 + stride, c2 = c1 + stride, c3 = c2 + stride, c4 = c3 + stride, c5 = c4 + stride, c6 = c5 + stride, c7 = c6 + stride;
        nint entry = 0;
        for (nint v = 0; v < count; v++, entry += bookStep, panel += 8 * width)
        {
            var (row0, row1) = (Eight(c0 + v, vectors, table, entry), Eight(c1 + v, vectors, table, entry));
            var (row2, row3) = (Eight(c2 + v, vectors, table, entry), Eight(c3 + v, vectors, table, entry));
            var (row4, row5) = (Eight(c4 + v, vectors, table, entry), Eight(c5 + v, vectors, table, entry));
            var (row6, row7) = (Eight(c6 + v, vectors, table, entry), Eight(c7 + v, vectors, table, entry));
            HalfTransposer.Store(Low(row0, row1), Low(row2, row3), Low(row4, row5), Low(row6, row7), scale, panel, width);
            HalfTransposer.Store(High(row0, row1), High(row2, row3), High(row4, row5), High(row6, row7), scale, panel + 4 * width, width);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector128<double> Eight(TCode* code, byte* vectors, byte* table, nint entry) => Vector128.Load((double*)(vectors + 16 * TNumber.Of(table, entry, Number(code))));

        static Vector128<float> Low(Vector128<double> a, Vector128<double> b) => Sse2.UnpackLow(a, b).AsSingle();

        static Vector128<float> High(Vector128<double> a, Vector128<double> b) => Sse2.UnpackHigh(a, b).AsSingle();
    }
}

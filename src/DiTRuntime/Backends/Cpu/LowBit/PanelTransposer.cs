using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DiTRuntime.Backends.Cpu.LowBit;

/// <summary>The whole blocks of a panel by vectors: 32 codes of eight rows of W at a time, as an 8×8 transposition of quads.</summary>
internal static unsafe class PanelTransposer
{
    /// <summary>Codes of a row in a block.</summary>
    public const int BlockLength = 32;

    /// <summary>Rows of a block.</summary>
    public const int BlockRows = 8;

    /// <summary>Whether the machine has the instructions.</summary>
    public static bool IsSupported => Avx2.IsSupported;

    /// <summary>Transposes eight rows.</summary>
    /// <param name="codes">in: packed codes of the first row.</param>
    /// <param name="rowBytes">Bytes from one row to the next.</param>
    /// <param name="bits">Bits of a code.</param>
    /// <param name="length">Codes of a row, a multiple of <see cref="BlockLength"/>.</param>
    /// <param name="offsets">in [8]: what is subtracted from the codes of each row.</param>
    /// <param name="panel">out: column of the first row in [length/4, 16] quads.</param>
    /// <param name="sums">in/out [8]: Σ q of each row is added.</param>
    public static void Transpose(byte* codes, nint rowBytes, int bits, int length, byte* offsets, uint* panel, int* sums)
    {
        var rows = stackalloc Vector256<int>[BlockRows];
        for (var k = 0; k < length; k += BlockLength, panel += BlockLength / 4 * IntegerPanel.Width)
        {
            for (var r = 0; r < BlockRows; r++)
            {
                var q = Read(codes + r * rowBytes + (nint)k * bits / 8, bits);
                sums[r] += (int)Vector256.Sum(Avx2.SumAbsoluteDifferences(q, Vector256<byte>.Zero).AsInt64());
                rows[r] = (q - Vector256.Create(offsets[r])).AsInt32();
            }

            Store(rows, panel);
        }
    }

    /// <summary>32 codes, one a byte.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<byte> Read(byte* codes, int bits)
    {
        switch (bits)
        {
            case 8:
                return Vector256.Load(codes);
            case 4:
                // A byte in 16 bits, its upper half moved to the second byte.
                var pairs = Avx2.ConvertToVector256Int16(codes);
                return ((pairs | Vector256.ShiftLeft(pairs, 4)) & Vector256.Create((short)0x0f0f)).AsByte();
            default:
                return Vector256.Create(
                    CodeReader.ReadEight(codes, bits), CodeReader.ReadEight(codes + bits, bits),
                    CodeReader.ReadEight(codes + 2 * bits, bits), CodeReader.ReadEight(codes + 3 * bits, bits)).AsByte();
        }
    }

    /// <summary>Eight quads of eight rows, by quad.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(Vector256<int>* rows, uint* panel)
    {
        var (a0, a1) = (Avx2.UnpackLow(rows[0], rows[1]).AsInt64(), Avx2.UnpackHigh(rows[0], rows[1]).AsInt64());
        var (a2, a3) = (Avx2.UnpackLow(rows[2], rows[3]).AsInt64(), Avx2.UnpackHigh(rows[2], rows[3]).AsInt64());
        var (a4, a5) = (Avx2.UnpackLow(rows[4], rows[5]).AsInt64(), Avx2.UnpackHigh(rows[4], rows[5]).AsInt64());
        var (a6, a7) = (Avx2.UnpackLow(rows[6], rows[7]).AsInt64(), Avx2.UnpackHigh(rows[6], rows[7]).AsInt64());
        StorePair(Avx2.UnpackLow(a0, a2), Avx2.UnpackLow(a4, a6), panel);
        StorePair(Avx2.UnpackHigh(a0, a2), Avx2.UnpackHigh(a4, a6), panel + IntegerPanel.Width);
        StorePair(Avx2.UnpackLow(a1, a3), Avx2.UnpackLow(a5, a7), panel + 2 * IntegerPanel.Width);
        StorePair(Avx2.UnpackHigh(a1, a3), Avx2.UnpackHigh(a5, a7), panel + 3 * IntegerPanel.Width);
    }

    /// <summary>Stores a quad, and the one four further on that shares its vectors' upper halves.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StorePair(Vector256<long> firstRows, Vector256<long> lastRows, uint* panel)
    {
        Avx2.Permute2x128(firstRows, lastRows, 0x20).AsUInt32().Store(panel);
        Avx2.Permute2x128(firstRows, lastRows, 0x31).AsUInt32().Store(panel + 4 * IntegerPanel.Width);
    }
}

using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DiTRuntime.Backends.Cpu.LowBit;

/// <summary>Rows of halves as scaled columns of fp32: s·h, rounded once, as <see cref="Quantization.LinearWeight.CopyRows"/> has it.</summary>
/// <remarks>
/// A half's bits 13 to the left are a float 2^112 times too small, subnormals included, so s·2^112 times that is s·h: the same product,
/// rounded once. s·2^112 is exact, since a half is below 2^16. Pairs of halves are transposed as 32-bit values, and parted afterwards.
/// </remarks>
internal static unsafe class HalfTransposer
{
    /// <summary>Rows of a block.</summary>
    public const int Rows = 8;

    /// <summary>Halves of a row in a block.</summary>
    public const int BlockLength = 16;

    /// <summary>Sign, exponent and mantissa of a half that was shifted to a float's place with its sign.</summary>
    private const uint HalfBits = 0x8fffe000;

    /// <summary>Whether the machine has the instructions.</summary>
    public static bool IsSupported => Avx2.IsSupported;

    /// <summary>Eight rows at once.</summary>
    /// <param name="lines">in: halves of the first row.</param>
    /// <param name="lineBytes">Bytes from one row to the next.</param>
    /// <param name="scales">in [8]: s of each row.</param>
    /// <param name="length">Halves of a row; as many as fill whole blocks are read and written.</param>
    /// <param name="panel">out: column of the first row in [length, width].</param>
    /// <param name="width">Columns of the panel.</param>
    public static void Transpose(byte* lines, nint lineBytes, float* scales, int length, float* panel, int width)
    {
        var scale = Vector256.Load(scales) * Vector256.Create(BitConverter.UInt32BitsToSingle((112 + 127) << 23));
        for (var k = 0; k < length; k += BlockLength, lines += BlockLength * sizeof(ushort), panel += (nint)BlockLength * width)
        {
            var (a0, b0) = Unpack(lines, lineBytes);
            var (a1, b1) = Unpack(lines + 2 * lineBytes, lineBytes);
            var (a2, b2) = Unpack(lines + 4 * lineBytes, lineBytes);
            var (a3, b3) = Unpack(lines + 6 * lineBytes, lineBytes);
            Store(Avx2.UnpackLow(a0, a1), Avx2.UnpackLow(a2, a3), scale, panel, width);
            Store(Avx2.UnpackHigh(a0, a1), Avx2.UnpackHigh(a2, a3), scale, panel + 2 * (nint)width, width);
            Store(Avx2.UnpackLow(b0, b1), Avx2.UnpackLow(b2, b3), scale, panel + 4 * (nint)width, width);
            Store(Avx2.UnpackHigh(b0, b1), Avx2.UnpackHigh(b2, b3), scale, panel + 6 * (nint)width, width);
        }
    }

    /// <summary>One row.</summary>
    /// <param name="line">in [length]: halves.</param>
    /// <param name="scale">s.</param>
    /// <param name="length">Halves.</param>
    /// <param name="column">out: a column of [length, width].</param>
    /// <param name="width">Columns of the panel.</param>
    public static void Transpose(Half* line, float scale, int length, float* column, int width)
    {
        for (var k = 0; k < length; k++) column[(nint)k * width] = scale * (float)line[k];
    }

    /// <summary>Pairs of halves of two rows, interleaved: pairs 0, 1, 4, 5 and 2, 3, 6, 7.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (Vector256<long> Low, Vector256<long> High) Unpack(byte* lines, nint lineBytes)
    {
        var (first, second) = (Vector256.Load((int*)lines), Vector256.Load((int*)(lines + lineBytes)));
        return (Avx2.UnpackLow(first, second).AsInt64(), Avx2.UnpackHigh(first, second).AsInt64());
    }

    /// <summary>A pair of all rows, and the one four further on that shares its vectors' upper halves.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(Vector256<long> firstRows, Vector256<long> lastRows, Vector256<float> scale, float* panel, int width)
    {
        StorePair(Avx2.Permute2x128(firstRows, lastRows, 0x20).AsInt32(), scale, panel, width);
        StorePair(Avx2.Permute2x128(firstRows, lastRows, 0x31).AsInt32(), scale, panel + 8 * (nint)width, width);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StorePair(Vector256<int> pairs, Vector256<float> scale, float* panel, int width)
    {
        var mask = Vector256.Create(HalfBits);
        ((Vector256.ShiftRightArithmetic(Vector256.ShiftLeft(pairs, 16), 3).AsUInt32() & mask).AsSingle() * scale).Store(panel);
        ((Vector256.ShiftRightArithmetic(pairs, 3).AsUInt32() & mask).AsSingle() * scale).Store(panel + width);
    }
}

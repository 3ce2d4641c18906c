using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DiTRuntime.Backends.Cpu.LowBit;

/// <summary>Rows of halves as scaled columns of fp32: s·h, rounded once, as <see cref="Quantization.LinearWeight.CopyRows"/> has it.</summary>
/// <remarks>
/// A half's bits 13 to the left are a float 2^112 times too small, subnormals included, so s·2^112 times that is s·h: the same product,
/// rounded once. s·2^112 is exact, since a half is below 2^16. Quads of halves are transposed as pairs of 32 bits, which are parted afterwards.
/// </remarks>
internal static unsafe class HalfTransposer
{
    /// <summary>Rows of a block.</summary>
    public const int Rows = 8;

    /// <summary>Sign, exponent and mantissa of a half that was shifted to a float's place with its sign.</summary>
    private const uint HalfBits = 0x8fffe000;

    /// <summary>2^112.</summary>
    private const float ShiftedScale = 5192296858534827628530496329220096f;

    /// <summary>Whether the machine has the instructions.</summary>
    public static bool IsSupported => Avx2.IsSupported;

    /// <summary>s·2^112 of eight rows.</summary>
    /// <param name="scales">in [8]: s of each row.</param>
    public static Vector256<float> Scales(float* scales) => Vector256.Load(scales) * Vector256.Create(ShiftedScale);

    /// <summary>Four halves of each of eight rows, two rows a vector.</summary>
    /// <param name="rows01">Rows 0 and 1; and so on.</param>
    /// <param name="rows23">Rows 2 and 3.</param>
    /// <param name="rows45">Rows 4 and 5.</param>
    /// <param name="rows67">Rows 6 and 7.</param>
    /// <param name="scales">From <see cref="Scales"/>.</param>
    /// <param name="panel">out: column of the first row in [4, width].</param>
    /// <param name="width">Columns of the panel.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(
        Vector128<float> rows01, Vector128<float> rows23, Vector128<float> rows45, Vector128<float> rows67, Vector256<float> scales, float* panel, nint width)
    {
        var (even, odd) = (Vector256.Create(rows01, rows45), Vector256.Create(rows23, rows67));
        StorePair(Avx.Shuffle(even, odd, 0b10_00_10_00).AsInt32(), scales, panel, width);
        StorePair(Avx.Shuffle(even, odd, 0b11_01_11_01).AsInt32(), scales, panel + 2 * width, width);
    }

    /// <summary>Eight rows at once.</summary>
    /// <param name="lines">in: halves of the first row.</param>
    /// <param name="lineBytes">Bytes from one row to the next.</param>
    /// <param name="scales">in [8]: s of each row.</param>
    /// <param name="length">Halves of a row; as many as fill whole quads are read and written.</param>
    /// <param name="panel">out: column of the first row in [length, width].</param>
    /// <param name="width">Columns of the panel.</param>
    public static void Transpose(byte* lines, nint lineBytes, float* scales, int length, float* panel, nint width)
    {
        var scale = Scales(scales);
        for (var k = 0; k < length; k += 4, lines += 4 * sizeof(ushort), panel += 4 * width)
            Store(Two(lines, lineBytes), Two(lines + 2 * lineBytes, lineBytes), Two(lines + 4 * lineBytes, lineBytes), Two(lines + 6 * lineBytes, lineBytes), scale, panel, width);

        static Vector128<float> Two(byte* lines, nint lineBytes) => TwoQuads(lines, lines + lineBytes);
    }

    /// <summary>A quad, and one behind it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> TwoQuads(byte* first, byte* second) => Sse.LoadHigh(Sse2.LoadScalarVector128((double*)first).AsSingle(), (float*)second);

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

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StorePair(Vector256<int> pairs, Vector256<float> scales, float* panel, nint width)
    {
        var mask = Vector256.Create(HalfBits);
        ((Vector256.ShiftRightArithmetic(Vector256.ShiftLeft(pairs, 16), 3).AsUInt32() & mask).AsSingle() * scales).Store(panel);
        ((Vector256.ShiftRightArithmetic(pairs, 3).AsUInt32() & mask).AsSingle() * scales).Store(panel + width);
    }
}

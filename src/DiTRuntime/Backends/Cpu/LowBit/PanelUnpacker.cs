using System.Runtime.CompilerServices;

namespace DiTRuntime.Backends.Cpu.LowBit;

/// <summary>Codes of sixteen rows as the panel that a dot product takes, made in the first cache as it is needed.</summary>
/// <remarks>
/// Codes of up to 6 bits become q − Z, which fits s8 and needs no further correction; codes of 8 bits become q − 128, and the
/// difference Z − 128 is left to the sums. Neighbouring bytes do not borrow from each other: 128 + q − Z stays positive.
/// </remarks>
internal static unsafe class PanelUnpacker
{
    /// <summary>What codes of 8 bits lose to become signed.</summary>
    public const byte ByteOffset = 128;

    private const ulong SignBits = 0x8080808080808080;

    /// <summary>Zero points that the panel still carries: Z − 128 with 8 bits, else nothing.</summary>
    public static bool LeavesZeros(int bits) => bits == 8;

    /// <summary>Unpacks.</summary>
    /// <param name="codes">Packed codes of the first row.</param>
    /// <param name="rowBytes">Bytes from one row to the next.</param>
    /// <param name="bits">Bits of a code.</param>
    /// <param name="length">Codes of a row.</param>
    /// <param name="columns">Rows, at most 16.</param>
    /// <param name="offsets">in [16]: what is subtracted from the codes of each row.</param>
    /// <param name="panel">out s8 [⌈length/4⌉, 16, 4]; zeros past the rows and past the codes.</param>
    /// <param name="sums">in/out [16]: Σ q of each row is added.</param>
    public static void Unpack(byte* codes, nint rowBytes, int bits, int length, int columns, byte* offsets, sbyte* panel, int* sums)
    {
        if (columns < IntegerPanel.Width || length % CodeReader.Step != 0)
            Unsafe.InitBlockUnaligned(panel, 0, (uint)((length + 3) / 4 * 4 * IntegerPanel.Width));

        var byVectors = PanelTransposer.IsSupported && columns == IntegerPanel.Width ? length / PanelTransposer.BlockLength * PanelTransposer.BlockLength : 0;
        for (var column = 0; column < columns && byVectors > 0; column += PanelTransposer.BlockRows)
            PanelTransposer.Transpose(codes + column * rowBytes, rowBytes, bits, byVectors, offsets + column, (uint*)panel + column, sums + column);

        if (byVectors == length) return;
        codes += (long)byVectors * bits / 8;
        for (var column = 0; column < columns; column++, codes += rowBytes)
            sums[column] += UnpackColumn(codes, bits, length - byVectors, offsets[column], (uint*)panel + byVectors / 4 * IntegerPanel.Width + column);
    }

    /// <summary>Writes q − offset and returns Σ q.</summary>
    private static int UnpackColumn(byte* codes, int bits, int length, byte offset, uint* panel)
    {
        var offsets = CodeReader.Repeat(offset);
        var (k, sum) = (0, 0);
        for (; k <= length - CodeReader.Step; k += CodeReader.Step, codes += bits)
        {
            var eight = CodeReader.ReadEight(codes, bits);
            sum += CodeReader.Sum(eight);
            var signed = Subtract(eight, bits, offsets);
            panel[k / 4 * IntegerPanel.Width] = (uint)signed;
            panel[(k / 4 + 1) * IntegerPanel.Width] = (uint)(signed >> 32);
        }

        if (k == length) return sum;
        var last = length - k;
        var codesLeft = CodeReader.ReadLast(codes, bits, last);
        // Bytes past the last code stay zero, so that they add nothing.
        var rest = Subtract(codesLeft, bits, offsets) & (ulong.MaxValue >> (8 * (CodeReader.Step - last)));
        panel[k / 4 * IntegerPanel.Width] = (uint)rest;
        if (last > 4) panel[(k / 4 + 1) * IntegerPanel.Width] = (uint)(rest >> 32);
        return sum + CodeReader.Sum(codesLeft);
    }

    /// <summary>q − offset in each byte.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Subtract(ulong codes, int bits, ulong offsets) =>
        bits == 8 ? codes ^ SignBits : ((codes | SignBits) - offsets) ^ SignBits;
}

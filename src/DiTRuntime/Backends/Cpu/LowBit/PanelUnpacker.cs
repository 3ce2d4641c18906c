using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace DiTRuntime.Backends.Cpu.LowBit;

/// <summary>One group of sixteen rows of W as the panel that a dot product takes, made in the first cache as it is needed.</summary>
/// <remarks>
/// Codes of up to 6 bits become q − Z, which fits s8 and needs no further correction; codes of 8 bits become q − 128, and the
/// difference Z − 128 is left to the sums. Neighbouring bytes do not borrow from each other: 128 + q − Z stays positive.
/// </remarks>
internal static unsafe class PanelUnpacker
{
    private const ulong SignBits = 0x8080808080808080;

    /// <summary>Zero points that the panel still carries: Z − 128 with 8 bits, else nothing.</summary>
    public static bool LeavesZeros(int bits) => bits == 8;

    /// <summary>Unpacks.</summary>
    /// <param name="layer">The weight.</param>
    /// <param name="firstOutput">First row of W.</param>
    /// <param name="group">Group along K.</param>
    /// <param name="panel">out s8 [⌈length/4⌉, 16, 4]; zeros past the rows and past the group.</param>
    /// <param name="scales">out [16]: s.</param>
    /// <param name="zeros">out [16]: what <see cref="LeavesZeros"/> says, else 0.</param>
    /// <param name="sums">out [16]: Σ (q − Z).</param>
    public static void Unpack(CpuGroupLinear layer, int firstOutput, int group, sbyte* panel, float* scales, int* zeros, int* sums)
    {
        var grid = layer.Grid;
        var (start, length) = (grid.Start(group), grid.Length(group));
        var columns = Math.Min(IntegerPanel.Width, layer.Outputs - firstOutput);
        if (columns < IntegerPanel.Width || length % CodeReader.Step != 0)
            Unsafe.InitBlockUnaligned(panel, 0, (uint)((length + 3) / 4 * 4 * IntegerPanel.Width));

        var leavesZeros = LeavesZeros(layer.Bits);
        var offsets = stackalloc byte[IntegerPanel.Width];
        for (var column = 0; column < IntegerPanel.Width; column++)
        {
            var index = Math.Min(firstOutput + column, layer.Outputs - 1) * grid.Count + group;
            var zero = layer.Zeros[index];
            scales[column] = layer.Scales[index];
            zeros[column] = leavesZeros ? zero - 128 : 0;
            offsets[column] = leavesZeros ? (byte)128 : zero;
            // The codes' own sum is added as they are read.
            sums[column] = -length * zero;
        }

        var codes = layer.Codes + (long)firstOutput * layer.RowBytes + (long)start * layer.Bits / 8;
        var byVectors = PanelTransposer.IsSupported && columns == IntegerPanel.Width ? length / PanelTransposer.BlockLength * PanelTransposer.BlockLength : 0;
        for (var column = 0; column < columns && byVectors > 0; column += PanelTransposer.BlockRows)
            PanelTransposer.Transpose(codes + (long)column * layer.RowBytes, layer.RowBytes, layer.Bits, byVectors, offsets + column, (uint*)panel + column, sums + column);

        for (var column = 0; column < columns; column++, codes += layer.RowBytes)
        {
            // The group that is wanted next: of the same row, or after its last the first of the next panel's row.
            var next = group + 1 < grid.Count ? codes + length * layer.Bits / 8 : codes + (long)IntegerPanel.Width * layer.RowBytes - (long)start * layer.Bits / 8;
            Prefetch(next, length * layer.Bits / 8);
            if (byVectors < length)
                sums[column] += UnpackColumn(codes + (long)byVectors * layer.Bits / 8, layer.Bits, length - byVectors, offsets[column], (uint*)panel + byVectors / 4 * IntegerPanel.Width + column);
        }
    }

    /// <summary>
    /// Asks for codes that are wanted after some thousand cycles; rows lie too far apart for the machine to guess. Asking for what is
    /// not there, past the last row, does nothing.
    /// </summary>
    private static void Prefetch(byte* codes, int byteCount)
    {
        if (!Sse.IsSupported) return;
        for (var at = 0; at < byteCount + 63; at += 64) Sse.Prefetch0(codes + at);
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

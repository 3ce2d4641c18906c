using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using DiTRuntime.Quantization;

namespace DiTRuntime.Backends.Cpu.LowBit;

/// <summary>
/// A packed layer: its codes stay where they are in the mapped file, and become panels, a block at a time, when a product needs them.
/// </summary>
internal abstract unsafe class CpuPackedLinear : PreparedLinear
{
    private readonly NativeBuffer _bias;

    protected CpuPackedLinear(LinearWeight weight, GroupGrid grid, int bits)
        : base(weight.Name, weight.Outputs, weight.Inputs, weight.Activations)
    {
        (Grid, Bits) = (grid, bits);
        _bias = new NativeBuffer((long)(weight.Outputs + 64) * sizeof(float));
        weight.Bias?.CopyTo(new Span<float>(_bias.Floats, weight.Outputs));
    }

    /// <summary>The groups of a row, each with one scale and zero point of the input and of the weight.</summary>
    public GroupGrid Grid { get; }

    /// <summary>Bits of the weight in an integer product: panels of up to 6 bits lie in ±(2^bits − 1), others in −128 to 127.</summary>
    public int Bits { get; }

    /// <summary>b [N], zero where there is none; readable for a vector past the end.</summary>
    public float* Bias => _bias.Floats;

    /// <summary>Bytes of scratch that <see cref="FillIntegers"/> and <see cref="FillFloats"/> want.</summary>
    public virtual int ScratchBytes => 0;

    /// <summary>Whether an integer panel leaves zero points to the sums.</summary>
    public virtual bool LeavesZeros => false;

    /// <summary>Inputs of a block of floats, at most so many: blocks begin where codes can be read.</summary>
    /// <param name="most">Bound, a multiple of 16 and at least 512.</param>
    public virtual int BlockDepth(int most) => most;

    /// <summary>One group of sixteen rows of W as s8.</summary>
    /// <param name="firstOutput">First row of W.</param>
    /// <param name="group">Group along K.</param>
    /// <param name="panel">out s8 [⌈length/4⌉, 16, 4]; zeros past the rows and past the group.</param>
    /// <param name="scales">out [16]: s.</param>
    /// <param name="zeros">out [16]: zero points that the panel still carries, else 0.</param>
    /// <param name="sums">out [16]: Σ (q − Z).</param>
    /// <param name="scratch">Scratch.</param>
    public abstract void FillIntegers(int firstOutput, int group, sbyte* panel, float* scales, int* zeros, int* sums, byte* scratch);

    /// <summary>A block of some neighbouring rows of W as fp32, the values of <see cref="LinearWeight.CopyRows"/>.</summary>
    /// <param name="firstOutput">First row of W.</param>
    /// <param name="outputs">Rows.</param>
    /// <param name="firstInput">A multiple of <see cref="BlockDepth"/>.</param>
    /// <param name="depth">Inputs.</param>
    /// <param name="panel">out [depth rounded up to 16, width]: a row of W is a column.</param>
    /// <param name="width">Columns of the panel; what lies past the rows may hold anything.</param>
    /// <param name="scratch">Scratch.</param>
    public abstract void FillFloats(int firstOutput, int outputs, int firstInput, int depth, float* panel, int width, byte* scratch);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing) _bias.Dispose();
    }

    /// <summary>Bytes of a weight, which do not move; the prepared layer keeps the weight, and the model its file.</summary>
    protected static byte* Pointer(ReadOnlySpan<byte> bytes) => (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(bytes));

    /// <summary>
    /// Asks for codes that are wanted after some thousand cycles; rows lie too far apart for the machine to guess. Asking for what is
    /// not there, past the last row, does nothing.
    /// </summary>
    protected static void Prefetch(byte* codes, int byteCount)
    {
        if (!Sse.IsSupported) return;
        for (var at = 0; at < byteCount + 63; at += 64) Sse.Prefetch0(codes + at);
    }
}

using System.Runtime.Intrinsics;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Backends.Cpu.Simd;

namespace DiTRuntime.Calibration.Numerics;

/// <summary>The CPU backend's inner product at the machine's vector width; the same bits at every width.</summary>
internal abstract unsafe class PanelKernel
{
    /// <summary>The kernel for this machine.</summary>
    public static PanelKernel Instance { get; } =
        Vector512.IsHardwareAccelerated ? new PanelKernel<Simd512, Vector512<float>>()
        : Vector256.IsHardwareAccelerated ? new PanelKernel<Simd256, Vector256<float>>()
        : new PanelKernel<Simd128, Vector128<float>>();

    /// <summary>Columns of a panel.</summary>
    public abstract int PanelWidth { get; }

    /// <summary>Rows that are computed together; the sums have room for a whole number of them.</summary>
    public abstract int TileRows { get; }

    /// <summary>sums = a · panel.</summary>
    /// <param name="a">in [rowCount, depth].</param>
    /// <param name="stride">Values from one row of a to the next.</param>
    /// <param name="rowCount">Rows.</param>
    /// <param name="depth">Length of the product.</param>
    /// <param name="panel">in [depth, PanelWidth].</param>
    /// <param name="sums">out [rowCount rounded up to TileRows, PanelWidth].</param>
    public abstract void Multiply(float* a, nint stride, int rowCount, int depth, float* panel, float* sums);
}

/// <inheritdoc/>
internal sealed unsafe class PanelKernel<TSimd, TVec> : PanelKernel
    where TSimd : struct, ISimd<TVec>
    where TVec : struct
{
    /// <inheritdoc/>
    public override int PanelWidth => PanelProduct<TSimd, TVec>.PanelWidth;

    /// <inheritdoc/>
    public override int TileRows => PanelProduct<TSimd, TVec>.TileRows;

    /// <inheritdoc/>
    public override void Multiply(float* a, nint stride, int rowCount, int depth, float* panel, float* sums)
    {
        var rows = stackalloc float*[TileRows];
        for (var row = 0; row < rowCount; row += TileRows)
        {
            // Rows past the end repeat the last one.
            for (var r = 0; r < TileRows; r++) rows[r] = a + Math.Min(row + r, rowCount - 1) * stride;
            PanelProduct<TSimd, TVec>.Multiply(rows, depth, panel, sums + row * PanelWidth, PanelWidth, first: true);
        }
    }
}

namespace DiTRuntime.Cuda.Kernels;

/// <summary>How a warp quantizes adjacent values of a row; mirrors <c>span_quantizer</c> in kernels/quant/span_quantizer.cuh.</summary>
/// <param name="Layout">The groups of the row.</param>
/// <param name="Width">Values that the warp takes: whole groups.</param>
internal readonly record struct SpanLayout(ActivationLayout Layout, int Width)
{
    private int Unit => Layout.Grid.Size % 8 == 0 ? 8 : 4;

    private int Groups => (Width + Layout.Grid.Size - 1) / Layout.Grid.Size;

    private int GroupUnits => (Groups == 1 ? Width : Layout.Grid.Size) / Unit;

    /// <summary>Shared memory of a warp, in bytes.</summary>
    public int ScratchBytes => Groups * ((GroupUnits | 1) * 8 + 8);
}

using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Quantizes rows of halves, for producers that cannot.</summary>
/// <param name="library">The device's kernels.</param>
internal sealed class QuantizeRowsKernel(KernelLibrary library)
{
    private const int Warps = 4;

    /// <summary>Values of a warp when a row has several groups: 36 a lane.</summary>
    private const int SpanTarget = 1152;

    /// <summary>The longest group: a warp holds it in registers.</summary>
    private const int MaxSpan = 6144;

    private readonly Dictionary<(int Width, int Group, bool IsStatic), GpuKernel> _kernels = [];

    /// <summary>Stores codes, scales and corrections.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="input">f16 [rows, width].</param>
    /// <param name="rows">Rows.</param>
    /// <param name="width">K, a multiple of 8.</param>
    /// <param name="output">Of [rows, width].</param>
    /// <param name="format">Its groups.</param>
    public void Launch(GpuStream stream, DevicePointer input, int rows, int width, in DeviceActivation output, ActivationFormat format)
    {
        var key = (width, format.GroupSize, format.StaticScales is not null);
        if (!_kernels.TryGetValue(key, out var kernel)) _kernels.Add(key, kernel = library.Get(Spec(width, format)));
        var span = Span(width, format);
        var warps = (long)rows * ((width + span.Width - 1) / span.Width);
        var shape = new LaunchShape(checked((int)((warps + Warps - 1) / Warps)), 1, 1, 32 * Warps, Warps * span.ScratchBytes);
        stream.Launch(kernel, shape, new QuantizeRowsArguments { Input = input, Quantized = output, Rows = rows });
    }

    /// <summary>The specialisation for a width and a format.</summary>
    /// <exception cref="GpuUnavailableException">No kernel takes rows or groups like these.</exception>
    public static KernelSpec Spec(int width, ActivationFormat format)
    {
        TokenWidth.Check("quantizing activations", width);
        var span = Span(width, format);
        TokenWidth.Check(span.Layout);
        TokenWidth.Check("quantizing groups", span.Width, MaxSpan);
        return new KernelSpec(
            "quant/quantize_rows.cu",
            "quantize_rows_kernel",
            ("WIDTH", width),
            ("GROUP", format.GroupSize),
            ("STATIC_RANGES", format.StaticScales is null ? 0 : 1),
            ("SPAN", span.Width));
    }

    /// <summary>Whole groups, in as equal shares as <see cref="SpanTarget"/> allows; a multiple of 8 values.</summary>
    private static SpanLayout Span(int width, ActivationFormat format)
    {
        var layout = new ActivationLayout(format.Grid(width));
        var step = layout.Grid.Size % 8 == 0 ? layout.Grid.Size : 2 * layout.Grid.Size;
        var span = Math.Max(1, SpanTarget / step) * step;
        return new SpanLayout(layout, Math.Min(span, width));
    }
}

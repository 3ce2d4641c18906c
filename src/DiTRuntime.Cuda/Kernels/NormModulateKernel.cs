using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>What <see cref="NormModulateKernel"/> reads.</summary>
/// <param name="Tokens">f16 [Rows, Hidden].</param>
/// <param name="Rows">B·T.</param>
/// <param name="TokensPerSample">T.</param>
/// <param name="Hidden">H, a multiple of 8 up to 4096.</param>
/// <param name="Modulation">Table, its rows, the step.</param>
/// <param name="ShiftOffset">Where the shift begins in a table row, in values; the scale follows it.</param>
/// <param name="Epsilon">Added to the variance.</param>
internal readonly record struct NormModulateInput(
    DevicePointer Tokens,
    int Rows,
    int TokensPerSample,
    int Hidden,
    DeviceModulation Modulation,
    int ShiftOffset,
    float Epsilon);

/// <summary>y = LN(x)(1 + scale) + shift, stored as halves or quantized.</summary>
/// <param name="library">The device's kernels.</param>
internal sealed class NormModulateKernel(KernelLibrary library)
{
    private const int Warps = 4;
    private const int MaxHidden = 4096;
    private readonly Dictionary<(int Hidden, int Group, bool IsQuantized, bool IsStatic), GpuKernel> _kernels = [];

    /// <summary>Stores halves.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="input">What is read.</param>
    /// <param name="output">f16 [Rows, Hidden]; never the tokens.</param>
    public void Launch(GpuStream stream, in NormModulateInput input, DevicePointer output) => Launch(stream, input, output, default, null);

    /// <summary>Stores codes, scales and corrections.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="input">What is read.</param>
    /// <param name="output">Of [Rows, Hidden].</param>
    /// <param name="format">Its groups.</param>
    public void Launch(GpuStream stream, in NormModulateInput input, in DeviceActivation output, ActivationFormat format) =>
        Launch(stream, input, default, output, format);

    private void Launch(GpuStream stream, in NormModulateInput input, DevicePointer halves, in DeviceActivation quantized, ActivationFormat? format)
    {
        var key = (input.Hidden, format?.GroupSize ?? 0, format is not null, format?.StaticScales is not null);
        if (!_kernels.TryGetValue(key, out var kernel)) _kernels.Add(key, kernel = library.Get(Spec(input.Hidden, format)));
        if ((input.ShiftOffset | input.Modulation.Stride) % 4 != 0)
            throw new ArgumentException($"shift at {input.ShiftOffset} in rows of {input.Modulation.Stride} values: neither may break 16 bytes", nameof(input));
        var scratch = format is null ? 0 : Warps * new SpanLayout(new ActivationLayout(format.Grid(input.Hidden)), input.Hidden).ScratchBytes;
        var shape = new LaunchShape((input.Rows + Warps - 1) / Warps, 1, 1, 32 * Warps, scratch);
        stream.Launch(kernel, shape, new NormModulateArguments
        {
            Tokens = input.Tokens,
            Output = halves,
            Quantized = quantized,
            Modulation = input.Modulation,
            Rows = input.Rows,
            TokensPerSample = input.TokensPerSample,
            ShiftOffset = input.ShiftOffset,
            Epsilon = input.Epsilon,
        });
    }

    /// <summary>The specialisation for a hidden size and an output format.</summary>
    /// <exception cref="GpuUnavailableException">No kernel takes rows or groups like these.</exception>
    public static KernelSpec Spec(int hidden, ActivationFormat? format)
    {
        TokenWidth.Check("layer norm", hidden, MaxHidden);
        if (format is null) return new KernelSpec("norm/norm_modulate.cu", "norm_modulate_kernel", ("HIDDEN", hidden), ("QUANTIZED", 0));
        TokenWidth.Check(new ActivationLayout(format.Grid(hidden)));
        return new KernelSpec(
            "norm/norm_modulate.cu",
            "norm_modulate_kernel",
            ("HIDDEN", hidden),
            ("QUANTIZED", 1),
            ("GROUP", format.GroupSize),
            ("STATIC_RANGES", format.StaticScales is null ? 0 : 1));
    }
}

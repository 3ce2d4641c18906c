using DiTRuntime.Backends;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Cuda;

/// <summary>The products of DiT-XL/2 as they are chosen for one device of each architecture.</summary>
internal static class GemmCatalog
{
    private const int Hidden = 1152, MlpSize = 4608, Heads = 16;

    private static readonly (TargetArchitecture Target, GpuProperties Device)[] s_devices =
        [On("A100", 80, 108, 163), On("3090", 86, 82, 99), On("Orin", 87, 16, 163), On("4090", 89, 128, 99), On("H200", 90, 132, 227)];

    private static readonly GroupFormat?[] s_formats = [null, new(8, 128), new(4, 128)];

    /// <summary>Each kernel with the architecture it was chosen for.</summary>
    public static IReadOnlyList<(CatalogKernel Kernel, TargetArchitecture Target)> All { get; } = [.. Make().DistinctBy(entry => (entry.Kernel.Spec, entry.Target))];

    private static IEnumerable<(CatalogKernel Kernel, TargetArchitecture Target)> Make() =>
        from device in s_devices
        from format in s_formats
        from activations in format is null ? [false] : new[] { false, true }
        from rows in device.Target.Name is "sm_90" or "sm_87" ? new[] { 512, 8192 } : [8192]
        from problem in Products(format, activations, rows)
        select (new CatalogKernel(GemmKernel.Spec(problem, device.Device), problem.Layer.Format.IsInteger() ? KernelCatalog.IntegerProduct : KernelCatalog.HalfProduct), device.Target);

    private static IEnumerable<GemmProblem> Products(GroupFormat? format, bool quantizesInput, int rows)
    {
        yield return new() { Rows = rows, Layer = Layer(3 * Hidden, Hidden), Epilogue = GemmEpilogue.Heads, HeadCount = Heads, Tokens = 256 };
        yield return new() { Rows = rows, Layer = Layer(Hidden, Hidden), Epilogue = GemmEpilogue.GatedResidual, Tokens = 256 };
        yield return new() { Rows = rows, Layer = Layer(Hidden, MlpSize), Epilogue = GemmEpilogue.GatedResidual, Tokens = 256 };
        yield return new()
        {
            Rows = rows,
            Layer = Layer(MlpSize, Hidden),
            Epilogue = quantizesInput ? GemmEpilogue.Quantize : GemmEpilogue.Store,
            Activation = Activation.GeluTanh,
            OutputFormat = new ActivationFormat(128),
        };
        if (format is null) yield return new() { Rows = 100, Layer = Layer(6 * Hidden, Hidden), OutputIsFloat = true };

        // No weight and no memory: a choice looks at sizes only.
        CudaLinear Layer(int outputs, int inputs)
        {
            var grid = format?.Grid(inputs) ?? new GroupGrid(inputs, 0);
            var layout = new WeightLayout(
                (format?.Bits, quantizesInput) switch { (null, _) => GemmFormat.F16, (8, true) => GemmFormat.W8A8, (8, false) => GemmFormat.W8A16, (_, true) => GemmFormat.W4A8, _ => GemmFormat.W4A16 }, grid);
            var bits = format ?? new GroupFormat(8, 0);
            return new(new GroupWeight("layer", outputs, inputs, null, bits, [], [], new byte[bits.ZeroBytes(outputs, inputs)]), layout, null!);
        }
    }

    private static (TargetArchitecture Target, GpuProperties Device) On(string name, int architecture, int multiprocessors, int sharedKilobytes) =>
        (new(architecture), new(name, architecture, multiprocessors, sharedKilobytes << 10, 40 << 20, 12040, IsEmulated: false));
}

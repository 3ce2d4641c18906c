namespace DiTRuntime.Backends.Cpu;

/// <summary>A linear layer's weight as panels: [⌈N/width⌉, K, width], the last panel padded with zeros.</summary>
internal sealed unsafe class CpuLinear(string name, int outputs, int inputs, NativeBuffer panels, NativeBuffer bias)
    : PreparedLinear(name, outputs, inputs, activations: null)
{
    /// <summary>[⌈N/width⌉, K, width].</summary>
    public float* Panels => panels.Floats;

    /// <summary>[⌈N/width⌉·width], zero where there is none.</summary>
    public float* Bias => bias.Floats;

    protected override void Dispose(bool disposing)
    {
        if (!disposing) return;
        panels.Dispose();
        bias.Dispose();
    }
}

/// <summary>A convolution's weight as panels: [⌈Cout/width⌉, k·k, Cin, width], the last panel padded with zeros.</summary>
internal sealed unsafe class CpuConvolution(string name, int outputs, int inputs, int kernelSize, NativeBuffer panels, NativeBuffer bias)
    : PreparedConvolution(name, outputs, inputs, kernelSize)
{
    /// <summary>[⌈Cout/width⌉, k·k, Cin, width].</summary>
    public float* Panels => panels.Floats;

    /// <summary>[⌈Cout/width⌉·width], zero where there is none.</summary>
    public float* Bias => bias.Floats;

    protected override void Dispose(bool disposing)
    {
        if (!disposing) return;
        panels.Dispose();
        bias.Dispose();
    }
}

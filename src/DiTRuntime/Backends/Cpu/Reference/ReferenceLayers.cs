using DiTRuntime.Quantization;

namespace DiTRuntime.Backends.Cpu.Reference;

/// <summary>A linear layer as a plain matrix.</summary>
internal sealed class ReferenceLinear : PreparedLinear
{
    public ReferenceLinear(LinearWeight weight)
        : base(weight.Name, weight.Outputs, weight.Inputs, weight.Activations)
    {
        Weight = new float[weight.Outputs * weight.Inputs];
        weight.CopyRows(0, weight.Outputs, Weight);
        Bias = weight.Bias ?? new float[weight.Outputs];
    }

    /// <summary>W [N, K].</summary>
    public float[] Weight { get; }

    /// <summary>b [N]; zeros where the layer has none.</summary>
    public float[] Bias { get; }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        // Managed memory only.
    }
}

/// <summary>A convolution with its weight turned so that the input channels lie side by side, as they do in the activations.</summary>
internal sealed class ReferenceConvolution : PreparedConvolution
{
    public ReferenceConvolution(ConvolutionWeight weight)
        : base(weight.Name, weight.Outputs, weight.Inputs, weight.KernelSize)
    {
        if (KernelSize % 2 == 0) throw new ArgumentException($"{Name} has a kernel of {KernelSize}, expected an odd one", nameof(weight));
        var stored = weight.ToArray();
        var kernelArea = KernelSize * KernelSize;
        Weight = new float[stored.Length];
        for (var outChannel = 0; outChannel < Outputs; outChannel++)
            for (var inChannel = 0; inChannel < Inputs; inChannel++)
                for (var tap = 0; tap < kernelArea; tap++)
                    Weight[(outChannel * kernelArea + tap) * Inputs + inChannel] = stored[(outChannel * Inputs + inChannel) * kernelArea + tap];
        Bias = weight.Bias ?? new float[Outputs];
    }

    /// <summary>W [Cout, k, k, Cin].</summary>
    public float[] Weight { get; }

    /// <summary>b [Cout]; zeros where the layer has none.</summary>
    public float[] Bias { get; }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        // Managed memory only.
    }
}

using DiTRuntime.Quantization;

namespace DiTRuntime.Backends;

/// <summary>Which operation reads a prepared linear layer.</summary>
public enum LinearUse
{
    /// <summary><see cref="IDiTBackend.Linear"/>.</summary>
    Linear,

    /// <summary><see cref="IDiTBackend.PatchEmbed"/> alone.</summary>
    PatchEmbed,

    /// <summary><see cref="IDiTBackend.FinishStep"/> and <see cref="IDiTBackend.Linear"/>.</summary>
    FinishStep,
}

/// <summary>A linear layer's weight in a backend's own layout.</summary>
/// <param name="name">The layer's name, for errors.</param>
/// <param name="outputs">N.</param>
/// <param name="inputs">K.</param>
/// <param name="activations">How the layer's input is quantized, or null where it stays in floating point.</param>
public abstract class PreparedLinear(string name, int outputs, int inputs, ActivationFormat? activations) : IDisposable
{
    /// <summary>The layer's name, for errors.</summary>
    public string Name { get; } = name;

    /// <summary>N.</summary>
    public int Outputs { get; } = outputs;

    /// <summary>K.</summary>
    public int Inputs { get; } = inputs;

    /// <summary>How the layer's input is quantized, or null where it stays in floating point.</summary>
    public ActivationFormat? Activations { get; } = activations;

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives the storage back.</summary>
    protected abstract void Dispose(bool disposing);
}

/// <summary>A convolution's weight in a backend's own layout.</summary>
/// <param name="name">The layer's name, for errors.</param>
/// <param name="outputs">Cout.</param>
/// <param name="inputs">Cin.</param>
/// <param name="kernelSize">Side of the square kernel, odd.</param>
public abstract class PreparedConvolution(string name, int outputs, int inputs, int kernelSize) : IDisposable
{
    /// <summary>The layer's name, for errors.</summary>
    public string Name { get; } = name;

    /// <summary>Cout.</summary>
    public int Outputs { get; } = outputs;

    /// <summary>Cin.</summary>
    public int Inputs { get; } = inputs;

    /// <summary>Side of the square kernel, odd.</summary>
    public int KernelSize { get; } = kernelSize;

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives the storage back.</summary>
    protected abstract void Dispose(bool disposing);
}

/// <summary>What a convolution reads and does besides the product.</summary>
/// <param name="Activation">Applied last.</param>
/// <param name="Residual">F32, shaped like the output, added before the activation; may be the output itself.</param>
/// <param name="UpsamplesInput">The input is read at (y/2, x/2): nearest-neighbour ×2, never stored.</param>
public readonly record struct ConvolutionOptions(Activation Activation = Activation.None, Tensor? Residual = null, bool UpsamplesInput = false);

/// <summary>Settings of a group norm.</summary>
/// <param name="GroupCount">Groups; divides C.</param>
/// <param name="Epsilon">Added to the variance.</param>
/// <param name="Activation">Applied last.</param>
public readonly record struct GroupNormOptions(int GroupCount, float Epsilon, Activation Activation = Activation.None);

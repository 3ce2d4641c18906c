using System.Runtime.InteropServices;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Backends.Cpu.Reference;

/// <summary>
/// Every operation in its slow and obvious form: scalar loops that follow the formula, double-precision accumulation, one thread.
/// What the fast backends are compared with.
/// </summary>
public sealed partial class ReferenceBackend : IDiTBackend
{
    /// <inheritdoc/>
    public string Name => "reference";

    /// <inheritdoc/>
    public string Description => "reference: scalar loops in double precision, one thread";

    /// <inheritdoc/>
    public CancellationToken Cancellation { get; set; }

    /// <inheritdoc/>
    public Tensor Allocate(ElementType type, params ReadOnlySpan<int> shape)
    {
        TensorCheck.Allocate(type, shape);
        return new ReferenceTensor(this, type, shape);
    }

    /// <inheritdoc/>
    public Tensor AllocateActivations(ActivationFormat? format, params ReadOnlySpan<int> shape)
    {
        TensorCheck.Allocate(ElementType.F32, shape);
        return new ReferenceTensor(this, format, shape);
    }

    /// <inheritdoc/>
    public void Upload<T>(ReadOnlySpan<T> source, Tensor destination)
        where T : unmanaged
    {
        TensorCheck.Transfer<T>(this, destination, source.Length);
        source.CopyTo(Values<T>(destination));
    }

    /// <inheritdoc/>
    public void Download<T>(Tensor source, Span<T> destination)
        where T : unmanaged
    {
        TensorCheck.Transfer<T>(this, source, destination.Length);
        Values<T>(source)[..destination.Length].CopyTo(destination);
    }

    /// <inheritdoc/>
    public UpdateTable Prepare(ReadOnlySpan<SampleUpdate> updates, int imageCount) => new HostUpdateTable(updates, imageCount, Allocate(ElementType.I32, 1));

    /// <inheritdoc/>
    public void Replace(UpdateTable table, ReadOnlySpan<SampleUpdate> updates)
    {
        TensorCheck.StepCounter(this, table);
        table.Replace(updates);
        Integers(table.Step)[0] = 0;
    }

    /// <inheritdoc/>
    public void UploadNoise(ReadOnlySpan<float> values, Tensor noise, int stepIndex)
    {
        TensorCheck.UploadNoise(this, values, noise, stepIndex);
        values.CopyTo(Floats(noise)[(stepIndex % 2 * values.Length)..]);
    }

    /// <inheritdoc/>
    public void TimestepFeatures(Tensor timesteps, Tensor frequencies, Tensor features)
    {
        TensorCheck.TimestepFeatures(this, timesteps, frequencies, features);
        HostTimestepFeatures.Write(Integers(timesteps), Floats(frequencies), Floats(features));
    }

    /// <inheritdoc/>
    public PreparedLinear Prepare(LinearWeight weight, LinearUse use = LinearUse.Linear) => new ReferenceLinear(weight);

    /// <inheritdoc/>
    public PreparedConvolution Prepare(ConvolutionWeight weight) => new ReferenceConvolution(weight);

    /// <inheritdoc/>
    public void Dispose()
    {
        // Managed memory only.
    }

    private static Span<float> Floats(Tensor tensor) => ((ReferenceTensor)tensor).Floats;

    private static Span<int> Integers(Tensor tensor) => ((ReferenceTensor)tensor).Integers;

    private static Span<T> Values<T>(Tensor tensor)
        where T : unmanaged => tensor.Type == ElementType.F32
        ? MemoryMarshal.Cast<float, T>(Floats(tensor))
        : MemoryMarshal.Cast<int, T>(Integers(tensor));

    /// <summary>Chunk number <paramref name="chunk"/> [H] of the table row that a sample uses.</summary>
    private static ReadOnlySpan<float> Chunk(in Modulation modulation, int sample, int chunk, int hidden)
    {
        var step = modulation.Step is null ? 0 : Integers(modulation.Step)[0];
        var row = Integers(modulation.RowOfSample)[step * modulation.RowOfSample.RowLength + sample];
        TensorCheck.Index(row, modulation.Table.RowCount, nameof(Modulation.RowOfSample));
        return Floats(modulation.Table).Slice(row * modulation.Table.RowLength + chunk * hidden, hidden);
    }

    private static double Activate(Activation activation, double x) => activation switch
    {
        Activation.None => x,
        Activation.Relu => Math.Max(x, 0),
        Activation.Silu => x / (1 + Math.Exp(-x)),
        Activation.GeluTanh => x / 2 * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x))),
        _ => throw new ArgumentOutOfRangeException(nameof(activation), activation, "an activation that the reference backend does not know"),
    };
}

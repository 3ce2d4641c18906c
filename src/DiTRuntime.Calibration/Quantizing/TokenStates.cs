using System.Runtime.InteropServices;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Calibration.Quantizing;

/// <summary>The residual stream of all calibration samples between two blocks, [n, T·H] in fp32.</summary>
internal sealed unsafe class TokenStates : IDisposable
{
    private readonly NativeBuffer _values;

    /// <param name="sampleCount">n.</param>
    /// <param name="sampleLength">T·H.</param>
    public TokenStates(int sampleCount, int sampleLength)
    {
        SampleCount = sampleCount;
        SampleLength = sampleLength;
        _values = new NativeBuffer((long)sampleCount * sampleLength * sizeof(float));
    }

    /// <summary>n.</summary>
    public int SampleCount { get; }

    /// <summary>T·H.</summary>
    public int SampleLength { get; }

    /// <summary>The values of some samples.</summary>
    public Span<float> Samples(int first, int count) => new(_values.Floats + (nint)first * SampleLength, checked(count * SampleLength));

    /// <summary>Writes all values.</summary>
    public void Write(Stream stream)
    {
        for (var sample = 0; sample < SampleCount; sample++) stream.Write(MemoryMarshal.AsBytes(Samples(sample, 1)));
    }

    /// <summary>Reads all values.</summary>
    public void Read(CheckpointTensor tensor)
    {
        for (var sample = 0; sample < SampleCount; sample++) tensor.CopyRows(sample, 1, Samples(sample, 1));
    }

    /// <inheritdoc/>
    public void Dispose() => _values.Dispose();
}

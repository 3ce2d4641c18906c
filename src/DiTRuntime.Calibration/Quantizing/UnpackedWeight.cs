using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Quantizing;

/// <summary>
/// A weight as plain numbers, whatever it is stored as, with its input in fp32. Calibration rounds inputs itself, so the values are those
/// of the quantized layer on any backend, and what it is about to read can be observed.
/// </summary>
/// <param name="source">The weight.</param>
internal sealed class UnpackedWeight(LinearWeight source) : LinearWeight(source.Name, source.Outputs, source.Inputs, source.Bias)
{
    /// <inheritdoc/>
    public override void CopyRows(int firstRow, int rowCount, Span<float> destination) => source.CopyRows(firstRow, rowCount, destination);
}

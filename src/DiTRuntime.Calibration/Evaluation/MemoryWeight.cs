using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Evaluation;

/// <summary>A dense weight that is already in memory.</summary>
/// <param name="name">For errors.</param>
/// <param name="outputs">N.</param>
/// <param name="inputs">K.</param>
/// <param name="values">W [N, K].</param>
/// <param name="bias">b [N], or null.</param>
internal sealed class MemoryWeight(string name, int outputs, int inputs, ReadOnlyMemory<float> values, float[]? bias = null) : LinearWeight(name, outputs, inputs, bias)
{
    /// <inheritdoc/>
    public override void CopyRows(int firstRow, int rowCount, Span<float> destination) =>
        values.Span.Slice(firstRow * Inputs, rowCount * Inputs).CopyTo(destination);
}

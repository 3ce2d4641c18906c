namespace DiTRuntime.Calibration.Quantizing;

/// <summary>What became of a layer.</summary>
/// <param name="Name">Official name.</param>
/// <param name="Format">Its format, for people: "w4a8 g128".</param>
/// <param name="ByteCount">Bytes of its tensors in the file.</param>
/// <param name="WeightError">‖W − Ŵ‖ / ‖W‖.</param>
/// <param name="OutputError">√(tr ΔHΔᵀ / tr WHWᵀ), Δ = W − Ŵ: the relative error of the layer's outputs over the calibration inputs; null where none were collected.</param>
/// <param name="Seconds">Time to quantize it, without running the model.</param>
public sealed record LayerReport(string Name, string Format, long ByteCount, double WeightError, double? OutputError, double Seconds);

/// <summary>What a quantization made.</summary>
/// <param name="Layers">The packed layers, in the order of the forward pass.</param>
/// <param name="ByteCount">Bytes of the file.</param>
/// <param name="ParameterCount">Weights and biases of the model.</param>
/// <param name="Seconds">Time of this run.</param>
/// <param name="ResumedBlocks">Blocks that an earlier run had finished.</param>
public sealed record QuantizeReport(IReadOnlyList<LayerReport> Layers, long ByteCount, long ParameterCount, double Seconds, int ResumedBlocks)
{
    /// <summary>Times smaller than the parameters in fp16.</summary>
    public double CompressionOfHalf => 2.0 * ParameterCount / ByteCount;

    /// <summary>Times smaller than the parameters in fp32.</summary>
    public double CompressionOfSingle => 4.0 * ParameterCount / ByteCount;
}

/// <summary>How far a quantization is.</summary>
/// <param name="Stage">What is being done: "sampling trajectories".</param>
/// <param name="Unit">What is counted.</param>
/// <param name="Done">How many are done; parts count.</param>
/// <param name="Total">How many there are.</param>
public readonly record struct QuantizeProgress(string Stage, string Unit, double Done, double Total);

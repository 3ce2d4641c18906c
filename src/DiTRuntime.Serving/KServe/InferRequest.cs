namespace DiTRuntime.Serving.KServe;

/// <summary>An infer request as it was sent: well formed, with nothing known of the model yet.</summary>
/// <param name="Id">Given back in the answer; null where there was none.</param>
/// <param name="Inputs">Tensors of distinct names.</param>
/// <param name="Outputs">What is asked for, of distinct names; empty for the default.</param>
/// <param name="BinaryOutput">Whether outputs come in binary that say nothing of it.</param>
internal sealed record InferRequest(string? Id, IReadOnlyList<InferTensor> Inputs, IReadOnlyList<InferOutput> Outputs, bool BinaryOutput);

/// <summary>An output that is asked for.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Binary">Whether in binary; null where the request decides for all.</param>
internal readonly record struct InferOutput(string Name, bool? Binary);

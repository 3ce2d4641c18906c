using DiTRuntime.Serving.Http;

namespace DiTRuntime.Serving.KServe;

/// <summary>Refusals of tensors.</summary>
internal static class TensorError
{
    /// <summary>A tensor that is malformed, or of values that are never allowed: 400.</summary>
    /// <param name="tensor">Its name, or its place where it has none.</param>
    /// <param name="problem">What was found, what was expected.</param>
    public static ApiException In(string tensor, string problem) => new(400, "invalid_tensor", $"{tensor}: {problem}", tensor);

    /// <summary>A tensor that is understood, and asks for what the model or the service does not have: 422.</summary>
    /// <param name="tensor">Its name.</param>
    /// <param name="problem">What was found, what was expected.</param>
    public static ApiException Impossible(string tensor, string problem) => ApiException.Impossible($"{tensor}: {problem}", tensor);
}

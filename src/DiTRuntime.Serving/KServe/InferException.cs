using Microsoft.AspNetCore.Http;

namespace DiTRuntime.Serving.KServe;

/// <summary>A request that cannot be answered, told to its sender in one line.</summary>
/// <param name="message">What was found, what was expected; names the tensor.</param>
/// <param name="status">HTTP status.</param>
internal sealed class InferException(string message, int status = StatusCodes.Status400BadRequest) : Exception(message)
{
    /// <summary>HTTP status.</summary>
    public int Status => status;
}

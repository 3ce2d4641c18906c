namespace DiTRuntime.Serving.Http;

/// <summary>What clients are told of a failure that is not theirs.</summary>
internal static class Failure
{
    /// <summary>The answer to a request whose images could not be made; the cause is for the service's own log.</summary>
    public static ApiException Of(Exception exception) => DiTException.IsOutOfMemory(exception)
        ? new ApiException(500, "out_of_memory", "there was not enough memory for this request")
        : new ApiException(500, "failed", "the request failed inside the service");
}

namespace DiTRuntime.Serving.Http;

/// <summary>A request that is answered with an error: see docs/serving.md.</summary>
/// <param name="status">HTTP status.</param>
/// <param name="code">The kind of the error, for programs.</param>
/// <param name="message">One line for people: what was found and what was expected.</param>
/// <param name="parameter">The field that is wrong, or null.</param>
internal sealed class ApiException(int status, string code, string message, string? parameter = null) : Exception(message)
{
    /// <summary>HTTP status.</summary>
    public int Status => status;

    /// <summary>The kind of the error, for programs.</summary>
    public string Code => code;

    /// <summary>The field that is wrong, or null.</summary>
    public string? Parameter => parameter;

    /// <summary>When to try again, or null.</summary>
    public TimeSpan? RetryAfter { get; init; }

    /// <summary>A field of the wrong type.</summary>
    public static ApiException WrongType(string field, string expected) => new(400, "wrong_type", $"{field}: expected {expected}", field);

    /// <summary>A field with a value that is never allowed.</summary>
    public static ApiException OutOfRange(string field, object found, string expected) => new(400, "out_of_range", $"{field} {found}: expected {expected}", field);

    /// <summary>A field with a word that means nothing.</summary>
    public static ApiException UnknownValue(string field, string found, string expected) => new(400, "unknown_value", $"{field} '{found}': expected {expected}", field);

    /// <summary>A field that must be there.</summary>
    public static ApiException Missing(string field, string what) => new(400, "missing", $"{field}: {what}", field);

    /// <summary>A body whose framing the server cannot follow, such as a chunk of more bytes than there are numbers.</summary>
    public static ApiException BrokenBody() => new(400, "bad_request", "the body is not understood");

    /// <summary>What was understood, and cannot be done here.</summary>
    public static ApiException Impossible(string message, string? field) => new(422, "impossible", message, field);

    /// <summary>What is not here.</summary>
    public static ApiException NotFound(string message) => new(404, "not_found", message);

    /// <summary>A service that cannot be asked at the moment.</summary>
    public static ApiException Unavailable(string code, string message) => new(503, code, message) { RetryAfter = TimeSpan.FromSeconds(5) };
}

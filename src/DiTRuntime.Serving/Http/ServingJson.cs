using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Http;

namespace DiTRuntime.Serving.Http;

/// <summary>Everything the service writes as JSON, made at compile time.</summary>
/// <remarks>Metadata alone: the writers that can be generated beside them say "" for bytes that are null, and are used now and then only, by the size of earlier answers.</remarks>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, GenerationMode = JsonSourceGenerationMode.Metadata)]
[JsonSerializable(typeof(ErrorAnswer))]
[JsonSerializable(typeof(KServeError))]
[JsonSerializable(typeof(ImagesAnswer))]
[JsonSerializable(typeof(JobAnswer))]
[JsonSerializable(typeof(JobListAnswer))]
[JsonSerializable(typeof(ModelListAnswer))]
[JsonSerializable(typeof(ModelDetailAnswer))]
[JsonSerializable(typeof(LoadAnswer))]
[JsonSerializable(typeof(ReadinessAnswer))]
[JsonSerializable(typeof(PreviewEvent))]
internal sealed partial class ServingJson : JsonSerializerContext;

/// <summary>Writes answers.</summary>
internal static class JsonAnswers
{
    /// <summary>Writes an answer as JSON.</summary>
    public static Task WriteJsonAsync<T>(this HttpResponse response, T value, JsonTypeInfo<T> type) =>
        response.WriteAsJsonAsync(value, type, "application/json", response.HttpContext.RequestAborted);
}

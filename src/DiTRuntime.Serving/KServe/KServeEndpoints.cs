using System.Text.Json.Serialization.Metadata;
using DiTRuntime.Checkpoints;
using DiTRuntime.Serving.Http;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.AspNetCore.Routing;

namespace DiTRuntime.Serving.KServe;

/// <summary>The KServe v2 protocol over HTTP: health, metadata and infer, with the binary tensor extension.</summary>
public static class KServeEndpoints
{
    /// <summary>Header of the binary extension: bytes of the JSON in front of the tensors.</summary>
    internal const string HeaderLength = "Inference-Header-Content-Length";

    private static readonly string[] s_models = ["/v2/models/{model}", "/v2/models/{model}/versions/{version}"];

    /// <summary>Maps the protocol's endpoints. Needs a <see cref="ModelHost"/> among the services.</summary>
    public static IEndpointRouteBuilder MapKServe(this IEndpointRouteBuilder endpoints)
    {
        var infer = new InferEndpoint();
        endpoints.MapGet("/v2", context => WriteAsync(context, KServeMetadata.Server, KServeJson.Default.ServerMetadata));
        endpoints.MapGet("/v2/health/live", context => WriteAsync(context, new LiveAnswer(true), KServeJson.Default.LiveAnswer)).AllowAnonymous();
        endpoints.MapGet("/v2/health/ready", context =>
        {
            context.RequireModel();
            return WriteAsync(context, new ReadyAnswer(true), KServeJson.Default.ReadyAnswer);
        }).AllowAnonymous();
        foreach (var model in s_models)
        {
            endpoints.MapGet(model, context => WriteAsync(context, KServeMetadata.Of(FindModel(context)), KServeJson.Default.ModelMetadata));
            endpoints.MapGet(model + "/ready", context => WriteAsync(context, new ReadyAnswer(true, FindModel(context).Id), KServeJson.Default.ReadyAnswer));
            endpoints.MapPost(model + "/infer", infer.HandleAsync).WithMetadata(new BodyLimit());
        }

        return endpoints;
    }

    /// <summary>The model that a request names.</summary>
    /// <exception cref="ApiException">There is no such model (404), or none that takes requests (503).</exception>
    internal static ServedModel FindModel(HttpContext context)
    {
        var model = context.RequireModel();
        var name = (string)context.Request.RouteValues["model"]!;
        if (name != model.Id) throw ApiException.NotFound($"{TensorRules.Printable(name)}: no such model, expected {model.Id}");
        if (context.Request.RouteValues["version"] is string version && version != KServeMetadata.Version)
            throw ApiException.NotFound($"{model.Id}: no version {TensorRules.Printable(version, 16)}, expected {KServeMetadata.Version}");
        return model;
    }

    private static Task WriteAsync<T>(HttpContext context, T answer, JsonTypeInfo<T> type) => context.Response.WriteJsonAsync(answer, type);

    /// <summary>Tensors take more room than the requests of other endpoints.</summary>
    private sealed class BodyLimit : IRequestSizeLimitMetadata
    {
        public long? MaxRequestBodySize => InferBody.MostBytes;
    }
}

using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace DiTRuntime.Serving.OpenApi;

/// <summary>The service described for machines: <c>openapi.json</c> beside this file, which a test compares with what is mapped and answered.</summary>
public static class OpenApiEndpoint
{
    /// <summary>Maps <c>GET /openapi/v1.json</c>.</summary>
    public static IEndpointConventionBuilder MapOpenApiDocument(this IEndpointRouteBuilder endpoints)
    {
        var document = Read();
        return endpoints.MapGet("/openapi/v1.json", context =>
        {
            context.Response.ContentType = "application/json";
            return context.Response.WriteAsync(document, context.RequestAborted);
        });
    }

    /// <summary>The document, of this version of the product.</summary>
    private static string Read()
    {
        using var resource = typeof(OpenApiEndpoint).Assembly.GetManifestResourceStream("openapi.json")!;
        var document = JsonNode.Parse(resource)!;
        document["info"]!["version"] = ProductVersion.Text;
        return document.ToJsonString();
    }
}

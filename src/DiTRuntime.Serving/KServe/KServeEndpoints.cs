using System.Text.Json.Serialization.Metadata;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models.Scheduling;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

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
        var host = endpoints.ServiceProvider.GetRequiredService<ModelHost>();
        var log = endpoints.ServiceProvider.GetRequiredService<ILoggerFactory>().CreateLogger("DiTRuntime.KServe");
        var infer = new InferEndpoint(host, log);
        endpoints.MapGet("/v2", context => WriteAsync(context, KServeMetadata.Server, KServeJson.Default.ServerMetadata));
        endpoints.MapGet("/v2/health/live", context => WriteAsync(context, new LiveAnswer(true), KServeJson.Default.LiveAnswer));
        endpoints.MapGet("/v2/health/ready", Guarded(context =>
        {
            RequireReady(host);
            return WriteAsync(context, new ReadyAnswer(true), KServeJson.Default.ReadyAnswer);
        }));
        foreach (var model in s_models)
        {
            endpoints.MapGet(model, Guarded(context => WriteAsync(context, KServeMetadata.Of(FindModel(context, host)), KServeJson.Default.ModelMetadata)));
            endpoints.MapGet(model + "/ready", Guarded(context =>
            {
                var found = FindModel(context, host);
                RequireReady(host);
                return WriteAsync(context, new ReadyAnswer(true, found.Id), KServeJson.Default.ReadyAnswer);
            }));
            endpoints.MapPost(model + "/infer", Guarded(infer.HandleAsync)).WithMetadata(new BodyLimit());
        }

        return endpoints;
    }

    /// <summary>The model that a request names.</summary>
    /// <exception cref="InferException">There is no such model (404), or none yet (503).</exception>
    internal static ServedModel FindModel(HttpContext context, ModelHost host)
    {
        var model = host.Model ?? throw Unready(host.State);
        var name = (string)context.Request.RouteValues["model"]!;
        if (name != model.Id) throw new InferException($"{TensorRules.Printable(name)}: no such model, expected {model.Id}", StatusCodes.Status404NotFound);
        if (context.Request.RouteValues["version"] is string version && version != KServeMetadata.Version)
            throw new InferException($"{model.Id}: no version {TensorRules.Printable(version, 16)}, expected {KServeMetadata.Version}", StatusCodes.Status404NotFound);
        return model;
    }

    /// <exception cref="InferException">The service takes no requests: 503.</exception>
    internal static void RequireReady(ModelHost host)
    {
        if (host.State != ServingState.Ready) throw Unready(host.State);
    }

    private static InferException Unready(ServingState state)
    {
        var why = state switch
        {
            ServingState.Loading => "the model is being loaded",
            ServingState.Failed => "the model could not be loaded",
            _ => "the service is draining",
        };
        return new InferException(why, StatusCodes.Status503ServiceUnavailable);
    }

    private static RequestDelegate Guarded(RequestDelegate handle) => async context =>
    {
        try
        {
            await handle(context);
        }
        catch (InferException e)
        {
            if (e.Status is StatusCodes.Status503ServiceUnavailable or StatusCodes.Status429TooManyRequests) context.Response.Headers.RetryAfter = "1";
            await RefuseAsync(context, e.Status, e.Message);
        }
        catch (BadHttpRequestException e)
        {
            await RefuseAsync(context, e.StatusCode, e.StatusCode == StatusCodes.Status413PayloadTooLarge ? $"the body is larger than {InferBody.MostBytes} bytes" : "the body did not come");
        }
        catch (UsageException e)
        {
            await RefuseAsync(context, StatusCodes.Status422UnprocessableEntity, e.Message);
        }
        catch (QueueFullException e)
        {
            context.Response.Headers.RetryAfter = Math.Max(1, (int)Math.Ceiling(e.RetryAfter.TotalSeconds)).ToString();
            await RefuseAsync(context, StatusCodes.Status429TooManyRequests, e.Message);
        }
        catch (SchedulerClosedException)
        {
            context.Response.Headers.RetryAfter = "1";
            await RefuseAsync(context, StatusCodes.Status503ServiceUnavailable, "the service is draining");
        }
    };

    private static Task RefuseAsync(HttpContext context, int status, string message)
    {
        context.Response.StatusCode = status;
        return WriteAsync(context, new KServeError(message), KServeJson.Default.KServeError);
    }

    private static Task WriteAsync<T>(HttpContext context, T answer, JsonTypeInfo<T> type) =>
        context.Response.WriteAsJsonAsync(answer, type, cancellationToken: context.RequestAborted);

    /// <summary>Tensors take more room than the requests of other endpoints.</summary>
    private sealed class BodyLimit : IRequestSizeLimitMetadata
    {
        public long? MaxRequestBodySize => InferBody.MostBytes;
    }
}

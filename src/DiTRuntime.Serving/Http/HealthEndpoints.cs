using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace DiTRuntime.Serving.Http;

/// <summary>Whether the process lives, whether it takes requests, and what it is busy with.</summary>
internal static class HealthEndpoints
{
    private const string Live = """{"status":"ok"}""";

    /// <summary>Maps <c>/healthz</c>, <c>/readyz</c> and <c>/v1/load</c>.</summary>
    public static void MapHealth(this IEndpointRouteBuilder routes)
    {
        routes.MapGet("/healthz", HealthAsync).AllowAnonymous();
        routes.MapGet("/readyz", ReadinessAsync).AllowAnonymous();
        routes.MapGet("/v1/load", LoadAsync);
    }

    private static Task HealthAsync(HttpContext context)
    {
        context.Response.ContentType = "application/json";
        return context.Response.WriteAsync(Live);
    }

    private static Task ReadinessAsync(HttpContext context)
    {
        var host = context.RequestServices.GetRequiredService<ModelHost>();
        if (host.State == ServingState.Ready) return context.Response.WriteJsonAsync(new ReadinessAnswer("ready", 1), ServingJson.Default.ReadinessAnswer);
        context.Response.StatusCode = StatusCodes.Status503ServiceUnavailable;
        context.Response.Headers.RetryAfter = "5";
        return context.Response.WriteJsonAsync(new ReadinessAnswer(NameOf(host.State), host.LoadProgress), ServingJson.Default.ReadinessAnswer);
    }

    private static Task LoadAsync(HttpContext context)
    {
        var services = context.RequestServices;
        var host = services.GetRequiredService<ModelHost>();
        var load = host.Model?.Scheduler.Load ?? default;
        var answer = new LoadAnswer(
            NameOf(host.State), load.QueuedRequests, load.RunningRequests, load.RunningImages, load.BatchSamples, load.MaxBatch,
            host.Options.Scheduler.MaxQueue, Math.Round(services.GetRequiredService<ImageRate>().PerSecond, 3), load.SecondsToDrain is { } seconds ? Math.Round(seconds, 1) : null);
        context.Response.Headers.CacheControl = "no-store";
        return context.Response.WriteJsonAsync(answer, ServingJson.Default.LoadAnswer);
    }

    private static string NameOf(ServingState state) => state switch
    {
        ServingState.Ready => "ready",
        ServingState.Draining => "draining",
        ServingState.Failed => "failed",
        _ => "loading",
    };
}

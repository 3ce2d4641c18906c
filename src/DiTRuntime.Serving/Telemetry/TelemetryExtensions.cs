using System.Diagnostics;
using DiTRuntime.Models.Scheduling;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using OpenTelemetry.Metrics;

namespace DiTRuntime.Serving.Telemetry;

/// <summary>Measurements of a service: its meter, and the Prometheus text of it.</summary>
public static class TelemetryExtensions
{
    /// <summary>What requests are counted under that no route takes: their paths are anybody's choice.</summary>
    internal const string NoRoute = "none";

    /// <summary>Adds the meter "DiTRuntime", its collection for Prometheus, and the <see cref="ISchedulerObserver"/> that feeds it.</summary>
    public static IServiceCollection AddDiTTelemetry(this IServiceCollection services)
    {
        services.AddMetrics();
        services.AddSingleton<ServiceMetrics>();
        services.AddSingleton<ServiceGauges>();
        services.AddSingleton<ISchedulerObserver>(provider => provider.GetRequiredService<ServiceMetrics>());
        services.AddOpenTelemetry().WithMetrics(metrics => metrics.AddMeter(ServiceMetrics.MeterName).AddPrometheusExporter(options =>
        {
            // Names and labels are those of docs/serving.md, and no others.
            options.ScopeInfoEnabled = false;
            options.TargetInfoEnabled = false;
        }));
        return services;
    }

    /// <summary>Counts and times requests by the pattern of their route. Belongs in front of everything that answers: what comes later decides on the status.</summary>
    public static IApplicationBuilder UseDiTTelemetry(this IApplicationBuilder application)
    {
        var metrics = application.ApplicationServices.GetRequiredService<ServiceMetrics>();
        return application.Use(async (context, next) =>
        {
            var begin = Stopwatch.GetTimestamp();
            var failed = true;
            try
            {
                await next(context);
                failed = false;
            }
            finally
            {
                metrics.RequestEnded(RouteOf(context), StatusOf(context, failed), Stopwatch.GetElapsedTime(begin));
            }
        });
    }

    /// <summary>Maps <c>GET /metrics</c>: Prometheus text, made at most three times a second.</summary>
    public static IEndpointConventionBuilder MapMetrics(this IEndpointRouteBuilder endpoints)
    {
        var exposition = endpoints.MapPrometheusScrapingEndpoint("/metrics").WithMetadata(new HttpMethodMetadata(["GET"]));
        endpoints.ServiceProvider.GetRequiredService<ServiceGauges>();
        return exposition;
    }

    private static string RouteOf(HttpContext context) => (context.GetEndpoint() as RouteEndpoint)?.RoutePattern.RawText ?? NoRoute;

    private static int StatusOf(HttpContext context, bool failed) =>
        failed && !context.Response.HasStarted ? StatusCodes.Status500InternalServerError : context.Response.StatusCode;
}

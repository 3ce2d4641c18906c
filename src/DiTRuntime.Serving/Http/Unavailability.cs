using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;

namespace DiTRuntime.Serving.Http;

/// <summary>What a service that is not ready answers.</summary>
internal static class Unavailability
{
    /// <summary>It finishes what it has, and ends.</summary>
    public static ApiException Draining => ApiException.Unavailable("draining", "the service is about to end and takes no more requests");

    /// <summary>The model, where requests are taken.</summary>
    /// <exception cref="ApiException">They are not: 503.</exception>
    public static ServedModel RequireModel(this HttpContext context)
    {
        var host = context.RequestServices.GetRequiredService<ModelHost>();
        return host.State switch
        {
            ServingState.Ready => host.Model!,
            ServingState.Draining => throw Draining,
            ServingState.Failed => throw ApiException.Unavailable("no_model", "the model could not be loaded"),
            _ => throw ApiException.Unavailable("loading", "the model is being loaded"),
        };
    }
}

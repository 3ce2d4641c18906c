using DiTRuntime.Models;
using DiTRuntime.Models.Scheduling;
using DiTRuntime.Sampling;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace DiTRuntime.Serving.Http;

/// <summary>What model there is.</summary>
internal static class ModelEndpoints
{
    private const string Kind = "model", Owner = "ditruntime";

    /// <summary>Maps <c>/v1/models</c>.</summary>
    public static void MapModels(this IEndpointRouteBuilder routes)
    {
        routes.MapGet("/v1/models", ListAsync);
        routes.MapGet("/v1/models/{id}", DetailAsync);
    }

    private static Task ListAsync(HttpContext context)
    {
        var model = context.RequireModel();
        var answer = new ModelListAnswer("list", [new ModelAnswer(model.Id, Kind, model.Loaded.ToUnixTimeSeconds(), Owner)]);
        return context.Response.WriteJsonAsync(answer, ServingJson.Default.ModelListAnswer);
    }

    private static Task DetailAsync(HttpContext context)
    {
        var model = context.RequireModel();
        if (context.Request.RouteValues["id"] is not string id || id != model.Id) throw new ApiException(404, "model_not_found", $"this service has {model.Id}", "id");
        var options = model.Scheduler.Options;
        var answer = new ModelDetailAnswer(model.Id, Kind, model.Loaded.ToUnixTimeSeconds(), Owner)
        {
            Hash = model.Hash,
            Architecture = DiTConfigs.NameOf(model.Config),
            Backend = model.Backend,
            Compat = model.Identity.Compatibility.Name(),
            ImageSize = model.ImageSide,
            ImageChannels = model.ImageChannels,
            Samplers = ImageOrders.Samplers,
            Spacings = ImageOrders.Spacings,
            OutputFormats = ImageFormats.All,
            Limits = new LimitsAnswer(
                options.MaxImagesPerRequest, Math.Min(model.Scheduler.MaxSteps, NoiseSchedule.TrainingSteps), ImageOrders.MaxScale, options.MaxQueue, options.MaxBatch),
            Defaults = new DefaultsAnswer(SamplerOptions.DefaultSteps, GenerationRequest.DefaultGuidanceScale, ImageOrders.Samplers[0], 0, ImageFormats.Default),
            Classes = [.. Enumerable.Range(0, model.Config.ClassCount).Select(index => new ClassAnswer(index, model.Labels.NameOf(index), model.Labels.WordNetIdOf(index)))],
        };
        return context.Response.WriteJsonAsync(answer, ServingJson.Default.ModelDetailAnswer);
    }
}

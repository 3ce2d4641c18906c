using System.Security.Cryptography;
using System.Text;
using DiTRuntime.Models;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace DiTRuntime.Serving.Http;

/// <summary>Images while the client waits: as JSON, or one as a file.</summary>
internal static class ImageEndpoints
{
    private const int TagBytes = 12;

    /// <summary>Maps <c>/v1/images/generations</c> and <c>/v1/images</c>.</summary>
    public static void MapImages(this IEndpointRouteBuilder routes)
    {
        routes.MapPost("/v1/images/generations", GenerateAsync);
        routes.MapGet("/v1/images", FileAsync);
    }

    /// <summary>The answer for finished images.</summary>
    /// <param name="order">What was asked for.</param>
    /// <param name="model">The model.</param>
    /// <param name="created">When it was asked for.</param>
    /// <param name="content">The file or the link of an image.</param>
    internal static ImagesAnswer Answer(ImageOrder order, ServedModel model, DateTimeOffset created, Func<int, (byte[]? File, string? Url)> content)
    {
        var request = order.Request;
        var images = request.Labels.Select((label, i) =>
        {
            var (file, url) = content(i);
            return new ImageAnswer(file, url, null, request.SeedOf(i), label, model.Labels.NameOf(label));
        });
        var steps = request.Labels.Count * request.Sampler.StepCount;
        return new ImagesAnswer(created.ToUnixTimeSeconds(), [.. images], order.Format, ImageOrders.SizeOf(model), request.Seed, model.Id, new UsageAnswer(steps));
    }

    private static async Task GenerateAsync(HttpContext context)
    {
        var model = context.RequireModel();
        var order = await JsonFields.ReadAsync(context, fields => ImageOrders.Read(fields, model));
        var created = context.RequestServices.GetRequiredService<TimeProvider>().GetUtcNow();
        var images = await GenerateAsync(context, model, order);
        var files = images.Select(image => model.Encode(order.Request, image, order.Extension)).ToArray();
        var links = context.RequestServices.GetRequiredService<ImageLinks>();
        var address = $"{context.Request.Scheme}://{context.Request.Host}{context.Request.PathBase}/v1/images";
        var answer = Answer(order, model, created, image =>
        {
            if (!order.AsLinks) return (files[image], null);
            var query = order.QueryOf(image);
            links.Add(query, files[image]);
            return (null, address + query);
        });
        await context.Response.WriteJsonAsync(answer, ServingJson.Default.ImagesAnswer);
    }

    private static async Task FileAsync(HttpContext context)
    {
        var model = context.RequireModel();
        var order = ImageOrders.ReadLink(new QueryFields(context.Request.Query), model);
        var query = order.QueryOf(0);
        var headers = context.Response.Headers;
        var tag = TagOf(model, query);
        headers.ETag = tag;
        headers.CacheControl = "private, max-age=31536000, immutable";
        // The tag says all that the bits depend on, so nothing needs to be drawn to compare it.
        if (context.Request.Headers.IfNoneMatch.ToString().Contains(tag, StringComparison.Ordinal))
        {
            context.Response.StatusCode = StatusCodes.Status304NotModified;
            return;
        }

        var links = context.RequestServices.GetRequiredService<ImageLinks>();
        if (links.Find(query) is not { } file)
        {
            var images = await GenerateAsync(context, model, order);
            file = model.Encode(order.Request, images[0], order.Extension);
            links.Add(query, file);
        }

        await WriteFileAsync(context, file, order.Format);
    }

    /// <summary>Writes an image file.</summary>
    internal static async Task WriteFileAsync(HttpContext context, byte[] file, string format)
    {
        context.Response.ContentType = ImageFormats.ContentTypeOf(format);
        context.Response.ContentLength = file.Length;
        await context.Response.Body.WriteAsync(file, context.RequestAborted);
    }

    /// <summary>Waits for images; they are cancelled when the client goes.</summary>
    private static Task<IReadOnlyList<GeneratedImage>> GenerateAsync(HttpContext context, ServedModel model, ImageOrder order) =>
        model.Scheduler.GenerateAsync(order.Request, cancellation: context.RequestAborted);

    private static string TagOf(ServedModel model, string query)
    {
        var origin = $"{model.Id}\n{model.Hash}\n{model.Identity.Compatibility}\n{model.BackendName}\n{ProductVersion.Text}\n{query}";
        return $"\"{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(origin)).AsSpan(0, TagBytes))}\"";
    }
}

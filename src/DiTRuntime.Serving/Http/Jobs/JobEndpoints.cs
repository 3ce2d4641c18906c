using System.Globalization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace DiTRuntime.Serving.Http;

/// <summary>Requests whose images are fetched later.</summary>
internal static class JobEndpoints
{
    private const int DefaultListed = 20, MaxListed = 1000, MaxInterval = 1000, DefaultInterval = 5;

    private static readonly string[] s_statuses = ["queued", "running", "completed", "failed", "cancelled"];

    /// <summary>Maps <c>/v1/jobs</c>.</summary>
    public static void MapJobs(this IEndpointRouteBuilder routes)
    {
        routes.MapPost("/v1/jobs", CreateAsync);
        routes.MapGet("/v1/jobs", ListAsync);
        routes.MapGet("/v1/jobs/{id}", context => WriteAsync(context, Find(context)));
        routes.MapDelete("/v1/jobs/{id}", Remove);
        routes.MapPost("/v1/jobs/{id}/cancel", CancelAsync);
        routes.MapGet("/v1/jobs/{id}/events", EventsAsync);
        routes.MapGet("/v1/jobs/{id}/images/{image}", ImageAsync);
    }

    private static async Task CreateAsync(HttpContext context)
    {
        var model = context.RequireModel();
        var order = await JsonFields.ReadAsync(context, fields => ImageOrders.Read(fields, model));
        var job = StoreOf(context).Add(model, order, model.Scheduler.Submit(order.Request));
        context.Response.StatusCode = StatusCodes.Status202Accepted;
        context.Response.Headers.Location = $"{context.Request.PathBase}/v1/jobs/{job.Id}";
        await WriteAsync(context, job);
    }

    private static Task ListAsync(HttpContext context)
    {
        var fields = new QueryFields(context.Request.Query);
        var status = fields.Text("status");
        if (status is not null && !s_statuses.Contains(status)) throw ApiException.UnknownValue("status", status, string.Join(", ", s_statuses));
        var limit = (int)(fields.Whole(1, MaxListed, "limit") ?? DefaultListed);
        var jobs = StoreOf(context).List().Select(job => job.Describe(withResult: false)).Where(job => status is null || job.Status == status).Take(limit);
        context.Response.Headers.CacheControl = "no-store";
        return context.Response.WriteJsonAsync(new JobListAnswer("list", [.. jobs]), ServingJson.Default.JobListAnswer);
    }

    private static Task Remove(HttpContext context)
    {
        if (!StoreOf(context).Remove(IdOf(context))) throw Unknown();
        context.Response.StatusCode = StatusCodes.Status204NoContent;
        return Task.CompletedTask;
    }

    private static Task CancelAsync(HttpContext context)
    {
        var job = Find(context);
        if (!job.Cancel()) throw new ApiException(409, "ended", $"the job has ended already: it is {job.Describe(withResult: false).Status}");
        return WriteAsync(context, job);
    }

    private static Task EventsAsync(HttpContext context)
    {
        var job = Find(context);
        var fields = new QueryFields(context.Request.Query);
        var wantsPreviews = fields.Whole(0, 1, "previews") == 1;
        var interval = (int)(fields.Whole(1, MaxInterval, "interval") ?? DefaultInterval);
        var events = new JobEvents(job, context.Response.BodyWriter, context.RequestServices.GetRequiredService<TimeProvider>());
        var headers = context.Response.Headers;
        headers.ContentType = "text/event-stream";
        headers.CacheControl = "no-store";
        // Proxies that collect answers before they pass them on are told not to.
        headers["X-Accel-Buffering"] = "no";
        return events.RunAsync(wantsPreviews ? interval : null, context.RequestAborted);
    }

    private static Task ImageAsync(HttpContext context)
    {
        var job = Find(context);
        var word = context.Request.RouteValues["image"] as string;
        if (!int.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out var image) || image >= job.Count)
            throw ApiException.NotFound($"the job has images 0 to {job.Count - 1}");
        if (job.Files is not { } files) throw new ApiException(409, "no_images", $"the job has no images: it is {job.Describe(withResult: false).Status}");
        context.Response.Headers.CacheControl = "private, max-age=31536000, immutable";
        return ImageEndpoints.WriteFileAsync(context, files[image], job.Format);
    }

    private static Task WriteAsync(HttpContext context, Job job)
    {
        context.Response.Headers.CacheControl = "no-store";
        return context.Response.WriteJsonAsync(job.Describe(withResult: true), ServingJson.Default.JobAnswer);
    }

    private static JobStore StoreOf(HttpContext context) => context.RequestServices.GetRequiredService<JobStore>();

    private static string IdOf(HttpContext context) => context.Request.RouteValues["id"] as string ?? "";

    private static Job Find(HttpContext context) => StoreOf(context).Find(IdOf(context)) ?? throw Unknown();

    private static ApiException Unknown() => new(404, "job_not_found", "there is no such job; jobs are forgotten some time after their end");
}

using System.Globalization;
using System.Text.Json;
using DiTRuntime.Serving.Http;
using Microsoft.AspNetCore.Http;
using Microsoft.Net.Http.Headers;

namespace DiTRuntime.Serving.KServe;

/// <summary>Answers infer requests.</summary>
internal sealed class InferEndpoint
{
    private const string Octets = "application/octet-stream";

    private readonly InferBody _body = new();

    /// <summary>Answers a request, or throws what is to be told to its sender.</summary>
    public async Task HandleAsync(HttpContext context)
    {
        var model = KServeEndpoints.FindModel(context);
        CheckContentType(context.Request);
        var job = await _body.ReadAsync(context, body => Parse(context.Request, body, model));
        var images = await model.Scheduler.GenerateAsync(job.Request, cancellation: context.RequestAborted);
        await WriteAsync(context.Response, new InferAnswer(model, job, images), context.RequestAborted);
    }

    private static void CheckContentType(HttpRequest request)
    {
        // Clients of the binary extension often send none.
        if (request.ContentType is null || request.HasJsonContentType()) return;
        if (MediaTypeHeaderValue.TryParse(request.ContentType, out var type) && type.MediaType.Equals(Octets, StringComparison.OrdinalIgnoreCase)) return;
        throw new ApiException(415, "unsupported_media_type", $"expected a body of content type application/json or {Octets}");
    }

    private static InferJob Parse(HttpRequest request, ReadOnlyMemory<byte> body, ServedModel model)
    {
        var headerLength = request.Headers.TryGetValue(KServeEndpoints.HeaderLength, out var values) ? values.ToString() : null;
        return InferJob.Create(
            InferRequestReader.Read(body, headerLength), model.Config, model.Scheduler.Options.MaxImagesPerRequest, () => (ulong)Random.Shared.NextInt64());
    }

    /// <summary>Writes an answer. It is made twice: the first time for its length, which goes before it.</summary>
    private static async Task WriteAsync(HttpResponse response, InferAnswer answer, CancellationToken aborted)
    {
        var counter = new CountingWriter();
        await using (var counting = new Utf8JsonWriter(counter)) await answer.WriteJsonAsync(counting, () => default);
        response.ContentLength = counter.Count + answer.BinaryLength;
        response.ContentType = answer.HasBinary ? Octets : "application/json";
        if (answer.HasBinary) response.Headers[KServeEndpoints.HeaderLength] = counter.Count.ToString(CultureInfo.InvariantCulture);
        await using (var writer = new Utf8JsonWriter(response.BodyWriter)) await answer.WriteJsonAsync(writer, async () =>
        {
            await writer.FlushAsync(aborted);
            await response.BodyWriter.FlushAsync(aborted);
        });
        foreach (var part in answer.BinaryParts()) await response.BodyWriter.WriteAsync(part, aborted);
    }
}

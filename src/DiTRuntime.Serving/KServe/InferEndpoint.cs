using System.Text.Json;
using DiTRuntime.Models;
using DiTRuntime.Models.Scheduling;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.Net.Http.Headers;

namespace DiTRuntime.Serving.KServe;

/// <summary>Answers infer requests.</summary>
/// <param name="host">The model.</param>
/// <param name="log">Is told of images that fail.</param>
internal sealed partial class InferEndpoint(ModelHost host, ILogger log)
{
    private const string Octets = "application/octet-stream";

    private readonly InferBody _body = new();

    /// <summary>Answers a request, or throws what is to be told to its sender.</summary>
    public async Task HandleAsync(HttpContext context)
    {
        var model = KServeEndpoints.FindModel(context, host);
        KServeEndpoints.RequireReady(host);
        CheckContentType(context.Request);
        var job = await _body.ReadAsync(context, body => Parse(context.Request, body, model));
        var images = await GenerateAsync(context, model, job);
        await WriteAsync(context.Response, new InferAnswer(model, job, images), context.RequestAborted);
    }

    private static void CheckContentType(HttpRequest request)
    {
        if (request.ContentType is null || request.HasJsonContentType()) return;
        if (MediaTypeHeaderValue.TryParse(request.ContentType, out var type) && type.MediaType.Equals(Octets, StringComparison.OrdinalIgnoreCase)) return;
        throw new InferException($"the content type is neither application/json nor {Octets}", StatusCodes.Status415UnsupportedMediaType);
    }

    private static InferJob Parse(HttpRequest request, ReadOnlyMemory<byte> body, ServedModel model)
    {
        var headerLength = request.Headers.TryGetValue(KServeEndpoints.HeaderLength, out var values) ? values.ToString() : null;
        return InferJob.Create(
            InferRequestReader.Read(body, headerLength), model.Config, model.Scheduler.Options.MaxImagesPerRequest, () => (ulong)Random.Shared.NextInt64());
    }

    private async Task<IReadOnlyList<GeneratedImage>> GenerateAsync(HttpContext context, ServedModel model, InferJob job)
    {
        var generation = model.Scheduler.Submit(job.Request);
        try
        {
            return await generation.Completion.WaitAsync(context.RequestAborted);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            generation.Cancel();
            throw;
        }
        catch (OperationCanceledException)
        {
            throw new SchedulerClosedException();
        }
        catch (Exception e)
        {
            LogFailure(log, e);
            throw new InferException("the images could not be made: a step failed", StatusCodes.Status500InternalServerError);
        }
    }

    /// <summary>Writes an answer. It is made twice: the first time for its length, which goes before it.</summary>
    private static async Task WriteAsync(HttpResponse response, InferAnswer answer, CancellationToken aborted)
    {
        var counter = new CountingWriter();
        await using (var counting = new Utf8JsonWriter(counter)) await answer.WriteJsonAsync(counting, () => default);
        response.ContentLength = counter.Count + answer.BinaryLength;
        response.ContentType = answer.HasBinary ? Octets : "application/json";
        if (answer.HasBinary) response.Headers[KServeEndpoints.HeaderLength] = counter.Count.ToString();
        await using (var writer = new Utf8JsonWriter(response.BodyWriter)) await answer.WriteJsonAsync(writer, async () =>
        {
            await writer.FlushAsync(aborted);
            await response.BodyWriter.FlushAsync(aborted);
        });
        foreach (var part in answer.BinaryParts()) await response.BodyWriter.WriteAsync(part, aborted);
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "An infer request failed")]
    private static partial void LogFailure(ILogger log, Exception exception);
}

using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace DiTRuntime.Serving.Http;

/// <summary>A job's progress as server-sent events: the present state first, then what changes, and how it ends as the last.</summary>
/// <param name="job">The job.</param>
/// <param name="output">The body of the answer.</param>
/// <param name="time">The clock.</param>
internal sealed class JobEvents(Job job, PipeWriter output, TimeProvider time)
{
    /// <summary>Between two events: at most ten a second.</summary>
    private static readonly TimeSpan s_pace = TimeSpan.FromMilliseconds(100);

    /// <summary>Proxies close what is silent for longer.</summary>
    private static readonly TimeSpan s_silence = TimeSpan.FromSeconds(15);

    private readonly int[] _stepOfPreview = new int[job.Count];

    /// <summary>Writes events until the job has ended or the client has gone.</summary>
    /// <param name="previewInterval">Steps between two previews of an image; null for none.</param>
    /// <param name="cancellation">Cancelled when the client has gone.</param>
    public async Task RunAsync(int? previewInterval, CancellationToken cancellation)
    {
        using var watch = previewInterval is { } interval ? job.WatchPreviews(interval) : null;
        // A local: the job lets go of it when it ends.
        if (job.Running is { } generation)
        {
            var snapshot = generation.Snapshot();
            while (!generation.Completion.IsCompleted)
            {
                await SendAsync("progress", snapshot.Version, job.Describe(withResult: false), ServingJson.Default.JobAnswer, cancellation);
                if (watch is not null) await SendPreviewsAsync(generation, cancellation);
                await Task.WhenAny(Task.Delay(s_pace, time, cancellation), job.Ended);
                var next = generation.NextAsync(snapshot.Version, cancellation);
                while (!next.IsCompleted)
                {
                    await Task.WhenAny(next, Task.Delay(s_silence, time, cancellation));
                    cancellation.ThrowIfCancellationRequested();
                    if (!next.IsCompleted) await SendCommentAsync(cancellation);
                }

                snapshot = await next;
            }

            await job.Ended.WaitAsync(cancellation);
        }

        var end = job.Describe(withResult: true);
        await SendAsync(end.Status, null, end, ServingJson.Default.JobAnswer, cancellation);
    }

    private async Task SendPreviewsAsync(Models.Scheduling.Generation generation, CancellationToken cancellation)
    {
        for (var image = 0; image < _stepOfPreview.Length; image++)
        {
            if (generation.Preview(image) is not { } preview || preview.StepsDone <= _stepOfPreview[image]) continue;
            _stepOfPreview[image] = preview.StepsDone;
            if (LatentPreview.Encode(preview.Latent, job.Model.Config) is not { } file) return;
            var steps = generation.Request.Sampler.StepCount;
            await SendAsync("preview", null, new PreviewEvent(image, preview.StepsDone, steps, file), ServingJson.Default.PreviewEvent, cancellation);
        }
    }

    private async Task SendAsync<T>(string name, long? version, T data, JsonTypeInfo<T> type, CancellationToken cancellation)
    {
        var id = version is { } number ? string.Create(CultureInfo.InvariantCulture, $"id: {number}\n") : "";
        // JSON of this kind has no line breaks.
        Encoding.UTF8.GetBytes($"{id}event: {name}\ndata: ", output);
        output.Write(JsonSerializer.SerializeToUtf8Bytes(data, type));
        output.Write("\n\n"u8);
        await output.FlushAsync(cancellation);
    }

    private async Task SendCommentAsync(CancellationToken cancellation)
    {
        output.Write(":\n\n"u8);
        await output.FlushAsync(cancellation);
    }
}

using System.Text.Json.Serialization;

namespace DiTRuntime.Serving.Http;

/// <summary>A job as clients see it.</summary>
internal sealed record JobAnswer(string Id, string Object, string Status, long Created)
{
    public long? Started { get; init; }

    public long? Completed { get; init; }

    public long? Expires { get; init; }

    public int QueuePosition { get; init; }

    public int StepsDone { get; init; }

    public int StepsTotal { get; init; }

    public int ImagesDone { get; init; }

    [JsonPropertyName("n")]
    public int Count { get; init; }

    public double? SecondsLeft { get; init; }

    public required JobRequestAnswer Request { get; init; }

    public ImagesAnswer? Result { get; init; }

    public JobErrorAnswer? Error { get; init; }
}

/// <summary>What a job was asked for, with everything settled.</summary>
internal sealed record JobRequestAnswer(
    IReadOnlyList<int> ClassLabels, ulong Seed, int Steps, double GuidanceScale, string Sampler, double Eta, string Spacing, string OutputFormat);

/// <summary>Why a job has failed.</summary>
internal sealed record JobErrorAnswer(string Code, string Message);

/// <summary>Jobs, newest first.</summary>
internal sealed record JobListAnswer(string Object, IReadOnlyList<JobAnswer> Data);

/// <summary>An image on its way.</summary>
internal sealed record PreviewEvent(int Image, int Step, int Steps, [property: JsonPropertyName("b64_json")] byte[] File);

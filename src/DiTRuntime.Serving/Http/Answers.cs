using System.Text.Json.Serialization;

namespace DiTRuntime.Serving.Http;

/// <summary>An error in the OpenAI shape.</summary>
internal sealed record ErrorAnswer(ErrorDetail Error);

/// <summary>What is wrong.</summary>
internal sealed record ErrorDetail(string Message, string Type, string? Param, string Code);

/// <summary>An error in the shape of KServe v2.</summary>
internal sealed record KServeError(string Error);

/// <summary>Finished images.</summary>
internal sealed record ImagesAnswer(long Created, IReadOnlyList<ImageAnswer> Data, string OutputFormat, string Size, ulong Seed, string Model, UsageAnswer Usage);

/// <summary>One finished image: its file or a link to it.</summary>
internal sealed record ImageAnswer(
    [property: JsonPropertyName("b64_json")] byte[]? File, string? Url, string? RevisedPrompt, ulong Seed, int ClassLabel, string? ClassName);

/// <summary>What a request has cost.</summary>
internal sealed record UsageAnswer(int Steps);

/// <summary>The models: the one there is.</summary>
internal sealed record ModelListAnswer(string Object, IReadOnlyList<ModelAnswer> Data);

/// <summary>A model in the list.</summary>
internal sealed record ModelAnswer(string Id, string Object, long Created, string OwnedBy);

/// <summary>A model by itself.</summary>
internal sealed record ModelDetailAnswer(string Id, string Object, long Created, string OwnedBy)
{
    public required string Hash { get; init; }

    public required string Architecture { get; init; }

    public required string Backend { get; init; }

    public required string Compat { get; init; }

    public required int ImageSize { get; init; }

    public required int ImageChannels { get; init; }

    public required IReadOnlyList<string> Samplers { get; init; }

    public required IReadOnlyList<string> Spacings { get; init; }

    public required IReadOnlyList<string> OutputFormats { get; init; }

    public required LimitsAnswer Limits { get; init; }

    public required DefaultsAnswer Defaults { get; init; }

    public required IReadOnlyList<ClassAnswer> Classes { get; init; }
}

/// <summary>What a request may ask for at most.</summary>
internal sealed record LimitsAnswer(int Images, int Steps, double GuidanceScale, int Queue, int Batch);

/// <summary>What a request gets that does not say.</summary>
internal sealed record DefaultsAnswer(int Steps, double GuidanceScale, string Sampler, double Eta, string OutputFormat);

/// <summary>A class.</summary>
internal sealed record ClassAnswer(int Index, string? Name, string? Wnid);

/// <summary>What the service is busy with.</summary>
internal sealed record LoadAnswer(
    string State, int QueuedRequests, int RunningRequests, int RunningImages, int BatchSamples, int MaxBatch, int MaxQueue, double ImagesPerSecond, double? SecondsToDrain);

/// <summary>Whether requests are taken.</summary>
internal sealed record ReadinessAnswer(string Status, double Loaded);

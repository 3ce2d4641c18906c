using System.Security.Cryptography;
using DiTRuntime.Models;
using DiTRuntime.Models.Scheduling;
using DiTRuntime.Sampling;

namespace DiTRuntime.Serving.Http;

/// <summary>Reads requests for images.</summary>
internal static class ImageOrders
{
    /// <summary>The most guidance.</summary>
    public const double MaxScale = 100;

    /// <summary>Samplers by name.</summary>
    public static IReadOnlyList<string> Samplers { get; } = ["ddim", "ddpm"];

    /// <summary>Spacings by name; numbers of steps for sections can stand in their place.</summary>
    public static IReadOnlyList<string> Spacings { get; } = [TimestepSpacing.Leading.Name, TimestepSpacing.Linspace.Name, TimestepSpacing.Trailing.Name];

    /// <summary>Reads the body of <c>POST /v1/images/generations</c> and <c>POST /v1/jobs</c>.</summary>
    /// <exception cref="ApiException">A field that is wrong, or asks for what the model does not have.</exception>
    public static ImageOrder Read(FieldReader fields, ServedModel model)
    {
        if (fields.Text("model") is { } name && name != model.Id) throw new ApiException(404, "model_not_found", $"model '{name}': this service has {model.Id}", "model");
        var size = fields.Text("size");
        if (size is not (null or "auto") && size != SizeOf(model)) throw ApiException.UnknownValue("size", size, $"{SizeOf(model)} or auto");
        var (labelField, words) = Classes(fields);
        var labels = Labels(labelField, words, model);
        var count = Count(fields, labels.Count, model);
        var request = new GenerationRequest
        {
            Labels = [.. Enumerable.Range(0, count).Select(image => labels[image % labels.Count])],
            Seed = fields.Whole(-1, long.MaxValue, "seed") is { } seed and >= 0 ? (ulong)seed : (ulong)RandomNumberGenerator.GetInt32(int.MaxValue),
            GuidanceScale = Scale(fields),
            Sampler = Sampler(fields),
        };
        var response = Choice(fields, "response_format", ["b64_json", "url"]);
        return new ImageOrder(request, Choice(fields, "output_format", ImageFormats.All), AsLinks: response == "url");
    }

    /// <summary>Reads the query of <c>GET /v1/images</c>: one image, and the same one each time.</summary>
    /// <exception cref="ApiException">A field that is wrong, or asks for what the model does not have.</exception>
    public static ImageOrder ReadLink(FieldReader fields, ServedModel model)
    {
        var word = fields.Text("class") ?? throw ApiException.Missing("class", "name one by index, name or WordNet id");
        var request = new GenerationRequest
        {
            Labels = [ParseClass("class", word, model)],
            Seed = (ulong)(fields.Whole(0, long.MaxValue, "seed") ?? 0),
            GuidanceScale = Scale(fields),
            Sampler = Sampler(fields),
        };
        return new ImageOrder(request, Choice(fields, "format", ImageFormats.All), AsLinks: false);
    }

    /// <summary>The size of a model's images as clients write it: "256x256".</summary>
    public static string SizeOf(ServedModel model) => $"{model.ImageSide}x{model.ImageSide}";

    private static double Scale(FieldReader fields) => fields.Number(0, MaxScale, "guidance_scale", "cfg_scale") ?? GenerationRequest.DefaultGuidanceScale;

    private static SamplerOptions Sampler(FieldReader fields)
    {
        var spacing = fields.Text("spacing");
        try
        {
            if (spacing is not null) TimestepSpacing.Parse(spacing);
        }
        catch (UsageException)
        {
            throw ApiException.UnknownValue("spacing", spacing!, $"{string.Join(", ", Spacings)}, or steps of each section such as 10,15,20");
        }

        return new SamplerOptions
        {
            Sampler = Choice(fields, "sampler", Samplers),
            Steps = (int?)fields.Whole(1, NoiseSchedule.TrainingSteps, "steps", "num_inference_steps"),
            Spacing = spacing,
            Eta = fields.Number(0, 1, "eta") ?? 0,
        };
    }

    /// <summary>One of some words; the first where there is none.</summary>
    private static string Choice(FieldReader fields, string field, IReadOnlyList<string> words)
    {
        if (fields.Text(field) is not { } word) return words[0];
        return words.Contains(word) ? word : throw ApiException.UnknownValue(field, word, string.Join(", ", words));
    }

    private static (string Field, IReadOnlyList<string> Words) Classes(FieldReader fields)
    {
        foreach (var field in (ReadOnlySpan<string>)["class_labels", "class_label", "prompt"])
        {
            if (fields.Words(field) is not { } words) continue;
            return words.Count > 0 ? (field, words) : throw ApiException.Missing(field, "an empty list names no class");
        }

        throw ApiException.Missing("prompt", "name a class by name, index or WordNet id");
    }

    private static List<int> Labels(string field, IReadOnlyList<string> words, ServedModel model)
    {
        var labels = new List<int>();
        foreach (var word in words)
        {
            // A name can hold commas; without them it may be a list.
            if (model.Labels.TryFind(word.Trim(), out var label)) labels.Add(label);
            else labels.AddRange(word.Split(',', StringSplitOptions.TrimEntries).Select(part => ParseClass(field, part, model)));
        }

        return labels;
    }

    private static int ParseClass(string field, string word, ServedModel model)
    {
        try
        {
            return model.Labels.Parse(word.Trim(), model.Config.ClassCount, field);
        }
        catch (UsageException e)
        {
            throw new ApiException(422, "unknown_class", e.Message, field);
        }
    }

    private static int Count(FieldReader fields, int labelCount, ServedModel model)
    {
        var most = model.Scheduler.Options.MaxImagesPerRequest;
        var count = fields.Whole(1, int.MaxValue, "n") ?? labelCount;
        return count <= most ? (int)count : throw new ApiException(422, "too_many_images", $"{count} images: this service makes at most {most} for a request", "n");
    }
}

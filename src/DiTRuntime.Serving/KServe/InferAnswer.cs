using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;
using DiTRuntime.Models;

namespace DiTRuntime.Serving.KServe;

/// <summary>A tensor of an answer: one element of the outermost dimension after another.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">UINT8, FP32 or BYTES.</param>
/// <param name="Shape">Its extents; the first counts images.</param>
/// <param name="Parts">For each image its elements, as the binary extension lays them.</param>
/// <param name="Binary">Whether it follows the JSON.</param>
internal sealed record InferResult(string Name, InferDatatype Type, int[] Shape, IReadOnlyList<byte[]> Parts, bool Binary)
{
    /// <summary>Bytes of all parts.</summary>
    public long ByteCount => Parts.Sum(p => (long)p.Length);
}

/// <summary>The answer to an infer request: JSON, and behind it the tensors that were asked for in binary.</summary>
internal sealed class InferAnswer
{
    /// <summary>JSON elements between two flushes: what an answer holds of its text at once is bounded by it.</summary>
    private const int FlushedElements = 8192;

    private readonly string _model;
    private readonly InferJob _job;
    private readonly List<InferResult> _results;

    /// <param name="model">The model that made the images.</param>
    /// <param name="job">What was asked for.</param>
    /// <param name="images">The finished images, in order.</param>
    public InferAnswer(ServedModel model, InferJob job, IReadOnlyList<GeneratedImage> images)
    {
        (_model, _job) = (model.Id, job);
        _results = [.. job.Outputs.Select(o => Result(model, job, images, o.Name, o.Binary))];
    }

    /// <summary>The answer from its tensors.</summary>
    internal InferAnswer(string model, InferJob job, IEnumerable<InferResult> results) => (_model, _job, _results) = (model, job, [.. results]);

    /// <summary>Whether tensors follow the JSON.</summary>
    public bool HasBinary => _results.Exists(r => r.Binary);

    /// <summary>Bytes that follow the JSON.</summary>
    public long BinaryLength => _results.Where(r => r.Binary).Sum(r => r.ByteCount);

    /// <summary>Writes the JSON.</summary>
    /// <param name="writer">Where to; nothing else is written to it.</param>
    /// <param name="flush">Called now and then, to pass on what was written.</param>
    public async Task WriteJsonAsync(Utf8JsonWriter writer, Func<ValueTask> flush)
    {
        writer.WriteStartObject();
        writer.WriteString("model_name"u8, _model);
        writer.WriteString("model_version"u8, KServeMetadata.Version);
        if (_job.Id is not null) writer.WriteString("id"u8, _job.Id);
        writer.WriteStartObject("parameters"u8);
        writer.WriteNumber("seed"u8, _job.Request.SeedOf(0));
        writer.WriteEndObject();
        writer.WriteStartArray("outputs"u8);
        foreach (var result in _results) await WriteResultAsync(writer, result, flush);
        writer.WriteEndArray();
        writer.WriteEndObject();
        await flush();
    }

    /// <summary>The parts that follow the JSON, in order.</summary>
    public IEnumerable<byte[]> BinaryParts() => _results.Where(r => r.Binary).SelectMany(r => r.Parts);

    private static InferResult Result(ServedModel model, InferJob job, IReadOnlyList<GeneratedImage> images, string name, bool binary)
    {
        var config = model.Config;
        return name switch
        {
            InferJob.Images => new InferResult(
                name, InferDatatype.UInt8, [images.Count, model.ImageSide, model.ImageSide, model.ImageChannels], [.. images.Select(i => model.ToImage(i).Pixels)], binary),
            InferJob.Latents => new InferResult(
                name, InferDatatype.Fp32, [images.Count, config.InChannels, config.InputSize, config.InputSize], [.. images.Select(i => MemoryMarshal.AsBytes<float>(i.Latent).ToArray())], binary),
            _ => new InferResult(name, InferDatatype.Bytes, [images.Count], [.. images.Select(i => WithLength(model.Encode(job.Request, i, ".png")))], binary),
        };
    }

    private static byte[] WithLength(byte[] file)
    {
        var element = new byte[sizeof(int) + file.Length];
        BinaryPrimitives.WriteInt32LittleEndian(element, file.Length);
        file.CopyTo(element, sizeof(int));
        return element;
    }

    private static async Task WriteResultAsync(Utf8JsonWriter writer, InferResult result, Func<ValueTask> flush)
    {
        writer.WriteStartObject();
        writer.WriteString("name"u8, result.Name);
        writer.WriteString("datatype"u8, result.Type.Name());
        writer.WriteStartArray("shape"u8);
        foreach (var extent in result.Shape) writer.WriteNumberValue(extent);
        writer.WriteEndArray();
        if (result.Binary)
        {
            writer.WriteStartObject("parameters"u8);
            writer.WriteNumber("binary_data_size"u8, result.ByteCount);
            writer.WriteEndObject();
        }
        else
        {
            writer.WriteStartArray("data"u8);
            foreach (var part in result.Parts)
            {
                var count = result.Type == InferDatatype.Bytes ? 1 : part.Length / result.Type.ByteSize();
                for (var begin = 0; begin < count; begin += FlushedElements)
                {
                    WriteElements(writer, result.Type, part, begin, Math.Min(begin + FlushedElements, count));
                    await flush();
                }
            }

            writer.WriteEndArray();
        }

        writer.WriteEndObject();
    }

    private static void WriteElements(Utf8JsonWriter writer, InferDatatype type, byte[] part, int begin, int end)
    {
        for (var i = begin; i < end; i++)
        {
            // Files are no text: JSON carries them in base 64.
            if (type == InferDatatype.UInt8) writer.WriteNumberValue(part[i]);
            else if (type == InferDatatype.Fp32) writer.WriteNumberValue(BinaryPrimitives.ReadSingleLittleEndian(part.AsSpan(i * sizeof(float))));
            else writer.WriteBase64StringValue(part.AsSpan(sizeof(int)));
        }
    }
}

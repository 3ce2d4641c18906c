using System.Globalization;
using System.Text.Json;
using DiTRuntime.Checkpoints;
using DiTRuntime.Serving.Http;

namespace DiTRuntime.Serving.KServe;

/// <summary>Reads the body of an infer request: JSON, and behind it the tensors of the binary extension.</summary>
internal static class InferRequestReader
{
    /// <summary>Tensors of a request; no model here has as many.</summary>
    private const int MaxTensors = 16;

    /// <summary>Reads a request.</summary>
    /// <param name="body">The whole body; the tensors of the result refer to it.</param>
    /// <param name="headerLength">The header <c>Inference-Header-Content-Length</c>, or null: all is JSON.</param>
    /// <exception cref="ApiException">It is malformed, or its sizes do not add up.</exception>
    public static InferRequest Read(ReadOnlyMemory<byte> body, string? headerLength)
    {
        var jsonLength = body.Length;
        if (headerLength is not null
            && (!int.TryParse(headerLength, NumberStyles.None, CultureInfo.InvariantCulture, out jsonLength) || jsonLength == 0 || jsonLength > body.Length))
            throw TensorError.In(KServeEndpoints.HeaderLength, $"{TensorRules.Printable(headerLength, 24)}, expected 1 to the body's {body.Length} bytes");
        try
        {
            return Read(body[..jsonLength].Span, body[jsonLength..]);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException: a string that is no UTF-8, or an escaped lone surrogate.
            throw new ApiException(400, "invalid_json", $"the request is not valid JSON ({TensorRules.Printable(e.Message, 200)})");
        }
    }

    private static InferRequest Read(ReadOnlySpan<byte> json, ReadOnlyMemory<byte> binary)
    {
        var reader = new Utf8JsonReader(json);
        reader.Read();
        InferJson.ExpectObject(ref reader, "the request");
        string? id = null;
        var inputs = new List<InferTensor>();
        var outputs = new List<InferOutput>();
        var binaryOutput = false;
        var properties = new DistinctProperties("the request");
        while (InferJson.NextProperty(ref reader))
        {
            if (reader.ValueTextEquals("id"u8))
            {
                properties.Add("id");
                id = InferJson.ReadText(ref reader, "id");
            }
            else if (reader.ValueTextEquals("inputs"u8))
            {
                properties.Add("inputs");
                ReadInputs(ref reader, json, ref binary, inputs);
            }
            else if (reader.ValueTextEquals("outputs"u8))
            {
                properties.Add("outputs");
                ReadOutputs(ref reader, outputs);
            }
            else if (reader.ValueTextEquals("parameters"u8))
            {
                properties.Add("parameters");
                binaryOutput = InferJson.ReadFlag(ref reader, "parameters", "binary_data_output"u8) ?? false;
            }
            else
            {
                InferJson.SkipValue(ref reader);
            }
        }

        // One read past the closing brace: anything but white space there is an error.
        reader.Read();
        if (inputs.Count == 0) throw TensorError.In("inputs", "expected at least one tensor");
        if (!binary.IsEmpty) throw TensorError.In(inputs[^1].Name, $"{binary.Length} bytes follow the data of this last tensor");
        return new InferRequest(id, inputs, outputs, binaryOutput);
    }

    private static void ReadInputs(ref Utf8JsonReader reader, ReadOnlySpan<byte> json, ref ReadOnlyMemory<byte> binary, List<InferTensor> inputs)
    {
        InferJson.ReadArrayStart(ref reader, "inputs");
        while (InferJson.NextElement(ref reader, "inputs", inputs.Count, MaxTensors))
        {
            var tensor = InferTensorReader.Read(ref reader, json, $"inputs[{inputs.Count}]", ref binary);
            if (inputs.Exists(other => other.Name == tensor.Name)) throw TensorError.In(tensor.Name, "occurs twice in inputs");
            inputs.Add(tensor);
        }
    }

    private static void ReadOutputs(ref Utf8JsonReader reader, List<InferOutput> outputs)
    {
        InferJson.ReadArrayStart(ref reader, "outputs");
        while (InferJson.NextElement(ref reader, "outputs", outputs.Count, MaxTensors))
        {
            var output = ReadOutput(ref reader, $"outputs[{outputs.Count}]");
            if (outputs.Exists(other => other.Name == output.Name)) throw TensorError.In(output.Name, "occurs twice in outputs");
            outputs.Add(output);
        }
    }

    private static InferOutput ReadOutput(ref Utf8JsonReader reader, string place)
    {
        InferJson.ExpectObject(ref reader, place);
        string? name = null;
        bool? binary = null;
        var properties = new DistinctProperties(place);
        while (InferJson.NextProperty(ref reader))
        {
            if (reader.ValueTextEquals("name"u8))
            {
                properties.Add("name");
                name = InferJson.ReadName(ref reader, place);
            }
            else if (reader.ValueTextEquals("parameters"u8))
            {
                properties.Add("parameters");
                binary = InferJson.ReadFlag(ref reader, name ?? place, "binary_data"u8);
            }
            else
            {
                InferJson.SkipValue(ref reader);
            }
        }

        return new InferOutput(name ?? throw TensorError.In(place, "no name"), binary);
    }
}

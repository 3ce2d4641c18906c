using System.Text.Json.Serialization;

namespace DiTRuntime.Serving.KServe;

/// <summary>The answers of the protocol that tell of the service and its model.</summary>
internal static class KServeMetadata
{
    /// <summary>The one version that a model has.</summary>
    public const string Version = "1";

    /// <summary>What <c>GET /v2</c> tells.</summary>
    public static ServerMetadata Server { get; } = new("ditruntime", ProductVersion.Text, ["binary_tensor_data"]);

    /// <summary>What <c>GET /v2/models/{m}</c> tells.</summary>
    public static ModelMetadata Of(ServedModel model)
    {
        var config = model.Config;
        long[] latents = [-1, config.InChannels, config.InputSize, config.InputSize];
        return new ModelMetadata(
            model.Id,
            [Version],
            "ditruntime",
            [
                Tensor(InferJob.ClassLabels, InferDatatype.Int32, -1),
                Tensor(InferJob.Seed, InferDatatype.Int64, -1),
                Tensor(InferJob.CfgScale, InferDatatype.Fp32, 1),
                Tensor(InferJob.Steps, InferDatatype.Int32, 1),
                Tensor(InferJob.Sampler, InferDatatype.Bytes, 1),
                Tensor(InferJob.Latents, InferDatatype.Fp32, latents),
            ],
            [
                Tensor(InferJob.Images, InferDatatype.UInt8, -1, model.ImageSide, model.ImageSide, model.ImageChannels),
                Tensor(InferJob.Latents, InferDatatype.Fp32, latents),
                Tensor(InferJob.Png, InferDatatype.Bytes, -1),
            ]);
    }

    private static TensorMetadata Tensor(string name, InferDatatype type, params long[] shape) => new(name, type.Name(), shape);
}

/// <summary>A service.</summary>
/// <param name="Name">The product.</param>
/// <param name="Version">Its version.</param>
/// <param name="Extensions">Extensions of the protocol.</param>
internal sealed record ServerMetadata(string Name, string Version, IReadOnlyList<string> Extensions);

/// <summary>A model.</summary>
/// <param name="Name">Its id.</param>
/// <param name="Versions">Its versions.</param>
/// <param name="Platform">What runs it.</param>
/// <param name="Inputs">Tensors it takes.</param>
/// <param name="Outputs">Tensors it gives.</param>
internal sealed record ModelMetadata(string Name, IReadOnlyList<string> Versions, string Platform, IReadOnlyList<TensorMetadata> Inputs, IReadOnlyList<TensorMetadata> Outputs);

/// <summary>A tensor.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Datatype">Its datatype.</param>
/// <param name="Shape">Its extents; −1 varies.</param>
internal sealed record TensorMetadata(string Name, string Datatype, IReadOnlyList<long> Shape);

/// <summary>Liveness of the service.</summary>
internal sealed record LiveAnswer(bool Live);

/// <summary>Readiness of the service, or of the model where it is named.</summary>
internal sealed record ReadyAnswer(bool Ready, [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Name = null);

/// <summary>Writes the answers.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(ServerMetadata))]
[JsonSerializable(typeof(ModelMetadata))]
[JsonSerializable(typeof(LiveAnswer))]
[JsonSerializable(typeof(ReadyAnswer))]
internal sealed partial class KServeJson : JsonSerializerContext;

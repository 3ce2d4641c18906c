using System.Globalization;
using System.Text;

namespace DiTRuntime.Tests.Serving;

/// <summary>A request to a server, whole or damaged.</summary>
/// <param name="Method">Its method.</param>
/// <param name="Target">Its path and query; JOB stands for the id of a job.</param>
/// <param name="Body">Its body; empty for none.</param>
/// <param name="JsonLength">Bytes of the body that are JSON, where tensors follow.</param>
internal sealed record FuzzRequest(string Method, string Target, byte[] Body, int? JsonLength = null)
{
    /// <summary>Its headers, besides those of the connection.</summary>
    public IReadOnlyList<(string Name, string Value)> Headers { get; init; } = JsonLength is { } length
        ? [("Content-Type", "application/octet-stream"), ("Inference-Header-Content-Length", length.ToString(CultureInfo.InvariantCulture))]
        : Body.Length > 0 ? [("Content-Type", "application/json")] : [];

    /// <summary>The request as a client of the platform sends it; null where it refuses to.</summary>
    public HttpRequestMessage? ToMessage(Uri server)
    {
        try
        {
            var message = new HttpRequestMessage(new HttpMethod(Method), new Uri(server.GetLeftPart(UriPartial.Authority) + Target));
            if (Body.Length > 0) message.Content = new ByteArrayContent(Body);
            foreach (var (name, value) in Headers)
                if (!message.Headers.TryAddWithoutValidation(name, value)) message.Content?.Headers.TryAddWithoutValidation(name, value);
            return message;
        }
        catch (Exception e) when (e is UriFormatException or FormatException or ArgumentException or NotSupportedException)
        {
            return null;
        }
    }

    /// <summary>The request as bytes, the last of its connection.</summary>
    public byte[] ToBytes()
    {
        var head = new StringBuilder().Append(CultureInfo.InvariantCulture, $"{Method} {Target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        foreach (var (name, value) in Headers) head.Append(CultureInfo.InvariantCulture, $"{name}: {value}\r\n");
        if (Body.Length > 0) head.Append(CultureInfo.InvariantCulture, $"Content-Length: {Body.Length}\r\n");
        return [.. Encoding.Latin1.GetBytes(head.Append("\r\n").ToString()), .. Body];
    }
}

/// <summary>Valid requests to every endpoint; those that make images take one step.</summary>
internal static class FuzzCorpus
{
    private const string Input = """{"name":"class_labels","datatype":"INT32","shape":[1],"data":[3]},{"name":"steps","datatype":"INT32","shape":[1],"data":[1]},{"name":"cfg_scale","datatype":"FP32","shape":[1],"data":[1]}""";

    /// <summary>The requests.</summary>
    public static IReadOnlyList<FuzzRequest> Requests { get; } =
    [
        Post("/v1/images/generations", """{"prompt":"3","n":1,"seed":7,"steps":1,"guidance_scale":1.5,"sampler":"ddim","eta":0.5,"spacing":"leading"}"""),
        Post("/v1/images/generations", """{"class_labels":[3,"5"],"model":"digits","size":"32x32","steps":1,"cfg_scale":1,"sampler":"ddpm","response_format":"url","output_format":"png","user":"me"}"""),
        Post("/v1/jobs", """{"prompt":"3, 4","seed":7,"num_inference_steps":1,"guidance_scale":1}"""),
        Post("/v1/jobs", """{"class_label":9,"n":1,"seed":9223372036854775807,"steps":1,"guidance_scale":1}"""),
        Post("/v1/jobs/JOB/cancel", ""),
        new("DELETE", "/v1/jobs/JOB", []),
        Get("/v1/jobs/JOB"), Get("/v1/jobs/JOB/events?previews=1&interval=1"), Get("/v1/jobs/JOB/images/0"), Get("/v1/jobs"), Get("/v1/jobs?status=completed&limit=5"),
        Get("/v1/images?class=3&seed=1&steps=1&guidance_scale=4&sampler=ddim&eta=0&spacing=leading&format=png"), Get("/v1/images?class=4&steps=1&guidance_scale=1"),
        Get("/v1/models"), Get("/v1/models/digits"), Get("/v1/load"), Get("/healthz"), Get("/readyz"), Get("/metrics"), Get("/openapi/v1.json"), Get("/"),
        Get("/v2"), Get("/v2/health/live"), Get("/v2/health/ready"), Get("/v2/models/digits"), Get("/v2/models/digits/ready"), Get("/v2/models/digits/versions/1"),
        Post("/v2/models/digits/infer", $$$"""{"id":"a","inputs":[{{{Input}}}],"outputs":[{"name":"images"},{"name":"png","parameters":{"binary_data":true}}]}"""),
        Post("/v2/models/digits/versions/1/infer", $$$"""{"inputs":[{{{Input}}},{"name":"sampler","datatype":"BYTES","shape":[1],"data":["ddpm"]}]}"""),
        Tensors(),
    ];

    private static FuzzRequest Get(string target) => new("GET", target, []);

    private static FuzzRequest Post(string target, string json) => new("POST", target, Encoding.UTF8.GetBytes(json));

    private static FuzzRequest Tensors()
    {
        var json = Encoding.UTF8.GetBytes(
            """
            {"parameters":{"binary_data_output":true},"inputs":[{"name":"class_labels","datatype":"INT32","shape":[1],"parameters":{"binary_data_size":4}},
            {"name":"steps","datatype":"INT32","shape":[1],"data":[1]},{"name":"cfg_scale","datatype":"FP32","shape":[1],"data":[1]},{"name":"seed","datatype":"INT64","shape":[1],"parameters":{"binary_data_size":8}},
            {"name":"sampler","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":8}},
            {"name":"latents","datatype":"FP32","shape":[1,1,32,32],"parameters":{"binary_data_size":4096}}],"outputs":[{"name":"latents"},{"name":"images","parameters":{"binary_data":false}}]}
            """);
        byte[] tensors = [.. BitConverter.GetBytes(3), .. BitConverter.GetBytes(5L), .. BitConverter.GetBytes(4), .. "ddim"u8, .. new byte[4096]];
        return new FuzzRequest("POST", "/v2/models/digits/infer", [.. json, .. tensors], json.Length);
    }
}

using System.Net;
using System.Text;
using NJsonSchema;
using NSwag;

namespace DiTRuntime.Tests.Serving.OpenApi;

/// <summary>What the service really answers has the schemas of the OpenAPI document, field by field.</summary>
[TestFixture]
internal sealed class OpenApiAnswerTests
{
    private const string Labels = """{"name":"class_labels","datatype":"INT32","shape":[1],"data":[3]}""";

    private ServerFixture _server = null!;
    private OpenApiDocument _document = null!;
    private string _job = null!;

    [OneTimeSetUp]
    public async Task Start()
    {
        _server = await ServerFixture.StartAsync();
        _document = await OpenApiDocument.FromJsonAsync(await _server.Client.GetStringAsync("/openapi/v1.json"));
        // An answer with a field that is not described does not pass.
        foreach (var schema in _document.Components.Schemas.Values.Where(s => s.Type == JsonObjectType.Object)) schema.AllowAdditionalProperties = false;
        var created = await _server.PostJsonAsync("/v1/jobs", """{"prompt":"3","steps":2}""", HttpStatusCode.Accepted);
        _job = created.GetProperty("id").GetString()!;
        for (var status = ""; status != "completed"; status = (await _server.GetJsonAsync($"/v1/jobs/{_job}")).GetProperty("status").GetString()!) await Task.Delay(20);
    }

    [OneTimeTearDown]
    public async Task Stop() => await _server.DisposeAsync();

    [TestCase("/v1/models", "/v1/models")]
    [TestCase("/v1/models/digits", "/v1/models/{id}")]
    [TestCase("/v1/models/none", "/v1/models/{id}")]
    [TestCase("/v1/images?class=3&steps=0", "/v1/images")]
    [TestCase("/v1/images?class=bogus", "/v1/images")]
    [TestCase("/v1/jobs", "/v1/jobs")]
    [TestCase("/v1/jobs?limit=0", "/v1/jobs")]
    [TestCase("/v1/jobs/JOB", "/v1/jobs/{id}")]
    [TestCase("/v1/jobs/none", "/v1/jobs/{id}")]
    [TestCase("/v1/load", "/v1/load")]
    [TestCase("/healthz", "/healthz")]
    [TestCase("/readyz", "/readyz")]
    [TestCase("/v2", "/v2")]
    [TestCase("/v2/health/live", "/v2/health/live")]
    [TestCase("/v2/health/ready", "/v2/health/ready")]
    [TestCase("/v2/models/digits", "/v2/models/{model}")]
    [TestCase("/v2/models/none", "/v2/models/{model}")]
    [TestCase("/v2/models/digits/ready", "/v2/models/{model}/ready")]
    [TestCase("/v2/models/digits/versions/1", "/v2/models/{model}/versions/{version}")]
    [TestCase("/v2/models/digits/versions/2", "/v2/models/{model}/versions/{version}")]
    [TestCase("/v2/models/digits/versions/1/ready", "/v2/models/{model}/versions/{version}/ready")]
    public async Task What_is_read_is_as_described(string address, string path)
    {
        using var answer = await _server.Client.GetAsync(address.Replace("JOB", _job, StringComparison.Ordinal));
        await CheckAsync(answer, path, "get");
    }

    [TestCase("/v1/images/generations", """{"prompt":"3","n":2,"steps":2}""")]
    [TestCase("/v1/images/generations", """{"prompt":"3","steps":2,"response_format":"url"}""")]
    [TestCase("/v1/images/generations", """{"prompt":""")]
    [TestCase("/v1/images/generations", """{"prompt":"bogus"}""")]
    [TestCase("/v1/images/generations", """{"prompt":"3","model":"none"}""")]
    [TestCase("/v1/jobs", """{"prompt":"3","steps":1}""")]
    [TestCase("/v1/jobs", """{"prompt":"3","steps":0}""")]
    [TestCase("/v1/jobs/{id}/cancel", "")]
    [TestCase("/v2/models/{model}/infer", """{"id":"a","inputs":[""" + Labels + """,{"name":"steps","datatype":"INT32","shape":[1],"data":[1]}],"outputs":[{"name":"images"},{"name":"png"},{"name":"latents"}]}""")]
    [TestCase("/v2/models/{model}/infer", """{"inputs":[]}""")]
    [TestCase("/v2/models/{model}/versions/{version}/infer", """{"inputs":[{"name":"class_labels","datatype":"INT32","shape":[1],"data":[77]}]}""")]
    public async Task What_is_answered_to_a_body_is_as_described(string path, string body)
    {
        var address = path.Replace("{id}", _job, StringComparison.Ordinal).Replace("{model}", "digits", StringComparison.Ordinal).Replace("{version}", "1", StringComparison.Ordinal);
        using var answer = await _server.PostAsync(address, body);
        await CheckAsync(answer, path, "post");
    }

    [Test]
    public async Task Examples_are_answered()
    {
        foreach (var (path, item) in _document.Paths)
        {
            foreach (var content in item.Values.Select(o => o.RequestBody?.Content["application/json"]).OfType<OpenApiMediaType>())
            {
                var examples = content.Examples.Values.Select(e => e.Value).Append(content.Example).OfType<object>().Select(e => e.ToString()!).ToArray();
                Assert.That(examples, Is.Not.Empty, path);
                foreach (var example in examples)
                {
                    Assert.That(content.Schema.ActualSchema.Validate(example, SchemaType.OpenApi3), Is.Empty, example);
                    var address = path.Replace("{model}", "digits", StringComparison.Ordinal).Replace("{version}", "1", StringComparison.Ordinal);
                    using var answer = await _server.Client.PostAsync(address, new StringContent(example, Encoding.UTF8, "application/json"));
                    Assert.That((int)answer.StatusCode, Is.InRange(200, 202), $"{path} {example}");
                }
            }
        }
    }

    private async Task CheckAsync(HttpResponseMessage answer, string path, string method)
    {
        var responses = _document.Paths[path][method].Responses;
        var status = ((int)answer.StatusCode).ToString(System.Globalization.CultureInfo.InvariantCulture);
        Assert.That(responses.Keys, Does.Contain(status));
        Assert.That(answer.Content.Headers.ContentType!.MediaType, Is.EqualTo("application/json"));
        var text = await answer.Content.ReadAsStringAsync();
        var schema = responses[status].ActualResponse.Content["application/json"].Schema.ActualSchema;
        Assert.That(schema.Validate(text, SchemaType.OpenApi3).Select(e => e.ToString()), Is.Empty, text.Length > 2000 ? text[..2000] : text);
    }
}

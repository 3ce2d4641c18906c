using System.Text;
using DiTRuntime.Models.Scheduling;

namespace DiTRuntime.Tests.Serving;

/// <summary>What is answered to requests that cannot be carried out.</summary>
public sealed class RefusalTests
{
    private const string Generations = "/v1/images/generations";

    private ServerFixture _server = null!;

    [OneTimeSetUp]
    public async Task Start() => _server = await ServerFixture.StartAsync();

    [OneTimeTearDown]
    public async Task Stop() => await _server.DisposeAsync();

    [TestCase("""{"prompt":"1","steps":0}""", 400, "out_of_range", "steps")]
    [TestCase("""{"prompt":"1","steps":1001}""", 400, "out_of_range", "steps")]
    [TestCase("""{"prompt":"1","num_inference_steps":-3}""", 400, "out_of_range", "num_inference_steps")]
    [TestCase("""{"prompt":"1","steps":"ten"}""", 400, "wrong_type", "steps")]
    [TestCase("""{"prompt":"1","steps":2.5}""", 400, "wrong_type", "steps")]
    [TestCase("""{"prompt":"1","steps":1e300}""", 400, "out_of_range", "steps")]
    [TestCase("""{"prompt":"1","steps":1e999}""", 400, "out_of_range", "steps")]
    [TestCase("""{"prompt":"1","n":0}""", 400, "out_of_range", "n")]
    [TestCase("""{"prompt":"1","n":true}""", 400, "wrong_type", "n")]
    [TestCase("""{"prompt":"1","seed":-2}""", 400, "out_of_range", "seed")]
    [TestCase("""{"prompt":"1","seed":9223372036854775808}""", 400, "out_of_range", "seed")]
    [TestCase("""{"prompt":"1","seed":"7"}""", 400, "wrong_type", "seed")]
    [TestCase("""{"prompt":"1","guidance_scale":-0.1}""", 400, "out_of_range", "guidance_scale")]
    [TestCase("""{"prompt":"1","cfg_scale":101}""", 400, "out_of_range", "cfg_scale")]
    [TestCase("""{"prompt":"1","guidance_scale":[4]}""", 400, "wrong_type", "guidance_scale")]
    [TestCase("""{"prompt":"1","eta":1.5}""", 400, "out_of_range", "eta")]
    [TestCase("""{"prompt":"1","sampler":"euler"}""", 400, "unknown_value", "sampler")]
    [TestCase("""{"prompt":"1","sampler":7}""", 400, "wrong_type", "sampler")]
    [TestCase("""{"prompt":"1","spacing":"sideways"}""", 400, "unknown_value", "spacing")]
    [TestCase("""{"prompt":"1","size":"64x64"}""", 400, "unknown_value", "size")]
    [TestCase("""{"prompt":"1","response_format":"ftp"}""", 400, "unknown_value", "response_format")]
    [TestCase("""{"prompt":"1","output_format":"bmp"}""", 400, "unknown_value", "output_format")]
    [TestCase("""{"prompt":{}}""", 400, "wrong_type", "prompt")]
    [TestCase("""{"prompt":[[1]]}""", 400, "wrong_type", "prompt")]
    [TestCase("""{"prompt":[]}""", 400, "missing", "prompt")]
    [TestCase("""{}""", 400, "missing", "prompt")]
    [TestCase("""{"prompt":"\ud800"}""", 400, "wrong_type", "prompt")]
    [TestCase("""[1]""", 400, "invalid_json", null)]
    [TestCase("""null""", 400, "invalid_json", null)]
    [TestCase("""{"prompt":"1",}""", 400, "invalid_json", null)]
    [TestCase("", 400, "invalid_json", null)]
    [TestCase("\u0001\u0002", 400, "invalid_json", null)]
    [TestCase("""{"prompt":"1","model":"other"}""", 404, "model_not_found", "model")]
    [TestCase("""{"prompt":"whale"}""", 422, "unknown_class", "prompt")]
    [TestCase("""{"prompt":""}""", 422, "unknown_class", "prompt")]
    [TestCase("""{"prompt":"1,,2"}""", 422, "unknown_class", "prompt")]
    [TestCase("""{"class_labels":[3,10]}""", 422, "unknown_class", "class_labels")]
    [TestCase("""{"class_label":-1}""", 422, "unknown_class", "class_label")]
    [TestCase("""{"class_label":1.5}""", 422, "unknown_class", "class_label")]
    [TestCase("""{"prompt":"1","n":11}""", 422, "too_many_images", "n")]
    [TestCase("""{"prompt":"0,1,2,3,4,5,6,7,8,9,0"}""", 422, "too_many_images", "n")]
    [TestCase("""{"prompt":"1","sampler":"ddpm","eta":0.5}""", 422, "impossible", "eta")]
    [TestCase("""{"prompt":"1","steps":70}""", 422, "impossible", "steps")]
    [TestCase("""{"prompt":"1","steps":40,"spacing":"10,15,20"}""", 422, "impossible", "steps")]
    public async Task A_request_that_is_wrong_is_refused_by_name(string body, int status, string code, string? field)
    {
        foreach (var path in new[] { Generations, "/v1/jobs" })
        {
            using var response = await _server.PostAsync(path, body);
            await ServerFixture.AssertErrorAsync(response, status, code, field);
        }
    }

    [TestCase("/v1/images", 400, "missing", "class")]
    [TestCase("/v1/images?class=", 400, "missing", "class")]
    [TestCase("/v1/images?class=1,2", 422, "unknown_class", "class")]
    [TestCase("/v1/images?class=1&seed=x", 400, "wrong_type", "seed")]
    [TestCase("/v1/images?class=1&seed=-1", 400, "out_of_range", "seed")]
    [TestCase("/v1/images?class=1&guidance_scale=NaN", 400, "out_of_range", "guidance_scale")]
    [TestCase("/v1/images?class=1&steps=5&format=gif", 400, "unknown_value", "format")]
    [TestCase("/v1/models/other", 404, "model_not_found", "id")]
    [TestCase("/v1/nothing", 404, "not_found", null)]
    [TestCase("/v1/jobs/job_0", 404, "job_not_found", null)]
    [TestCase("/v1/jobs/job_0/events", 404, "job_not_found", null)]
    [TestCase("/v1/jobs/job_0/images/0", 404, "job_not_found", null)]
    [TestCase("/v1/jobs?status=gone", 400, "unknown_value", "status")]
    [TestCase("/v1/jobs?limit=0", 400, "out_of_range", "limit")]
    [TestCase("/v1/images/generations", 405, "method_not_allowed", null)]
    public async Task An_address_that_leads_nowhere_says_so(string path, int status, string code, string? field)
    {
        using var response = await _server.Client.GetAsync(path);
        await ServerFixture.AssertErrorAsync(response, status, code, field);
    }

    [TestCase("text/plain")]
    [TestCase("application/x-www-form-urlencoded")]
    [TestCase(null)]
    public async Task Another_content_type_is_refused(string? type)
    {
        using var content = new ByteArrayContent(Encoding.UTF8.GetBytes("""{"prompt":"1"}"""));
        if (type is not null) content.Headers.ContentType = new(type);
        using var response = await _server.Client.PostAsync(Generations, content);
        await ServerFixture.AssertErrorAsync(response, 415, "unsupported_media_type");
    }

    [Test]
    public async Task A_long_text_is_not_repeated_at_length()
    {
        using var response = await _server.PostAsync(Generations, $$"""{"prompt":"{{new string('x', 100_000)}}"}""");
        Assert.That(response.Content.Headers.ContentLength ?? (await response.Content.ReadAsByteArrayAsync()).Length, Is.LessThan(1000));
    }

    [Test]
    public async Task Errors_of_the_other_protocol_have_its_shape()
    {
        using var response = await _server.Client.GetAsync("/v2/nothing");
        Assert.That((int)response.StatusCode, Is.EqualTo(404));
        Assert.That((await ServerFixture.JsonAsync(response)).GetProperty("error").GetString(), Is.Not.Empty);
    }

    [Test]
    public async Task More_steps_than_the_memory_for_rows_allows_are_refused()
    {
        await using var small = await ServerFixture.StartAsync(configure: model => model.Scheduler = new SchedulerOptions { ModulationBytes = 1 << 20 });
        using var response = await small.PostAsync(Generations, """{"prompt":"1","steps":1000,"spacing":"linspace"}""");
        await ServerFixture.AssertErrorAsync(response, 422, "impossible");
    }
}

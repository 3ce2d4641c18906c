using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using DiTRuntime.Models;
using DiTRuntime.Models.Scheduling;
using DiTRuntime.Serving;
using static DiTRuntime.Tests.Serving.KServe.InferBodies;

namespace DiTRuntime.Tests.Serving.KServe;

/// <summary>The KServe protocol, spoken with a server.</summary>
[TestFixture]
internal sealed class KServeEndpointTests
{
    private const string Infer = "/v2/models/digits/infer";
    private const string Steps = "{'name':'steps','datatype':'INT32','shape':[1],'data':[2]}";
    private const string Two = "{'name':'class_labels','datatype':'INT32','shape':[2],'data':[3,7]}";
    private const string Seed = "{'name':'seed','datatype':'INT64','shape':[1],'data':[5]}";

    private static readonly GenerationRequest s_two = new() { Labels = [3, 7], Seed = 5, Sampler = new SamplerOptions { Steps = 2 } };

    private ServerFixture _server = null!;

    [OneTimeSetUp]
    public async Task Start() => _server = await ServerFixture.StartAsync();

    [OneTimeTearDown]
    public async Task Stop() => await _server.DisposeAsync();

    [Test]
    public async Task The_service_and_the_model_are_told()
    {
        var service = await _server.GetJsonAsync("/v2");
        var model = await _server.GetJsonAsync("/v2/models/digits/versions/1");
        Assert.Multiple(() =>
        {
            Assert.That(service.GetRawText(), Is.EqualTo($$"""{"name":"ditruntime","version":"{{ProductVersion.Text}}","extensions":["binary_tensor_data"]}"""));
            Assert.That(model.GetRawText(), Is.EqualTo(
                """
                {"name":"digits","versions":["1"],"platform":"ditruntime","inputs":[
                {"name":"class_labels","datatype":"INT32","shape":[-1]},
                {"name":"seed","datatype":"INT64","shape":[-1]},
                {"name":"cfg_scale","datatype":"FP32","shape":[1]},
                {"name":"steps","datatype":"INT32","shape":[1]},
                {"name":"sampler","datatype":"BYTES","shape":[1]},
                {"name":"latents","datatype":"FP32","shape":[-1,1,32,32]}],"outputs":[
                {"name":"images","datatype":"UINT8","shape":[-1,32,32,1]},
                {"name":"latents","datatype":"FP32","shape":[-1,1,32,32]},
                {"name":"png","datatype":"BYTES","shape":[-1]}]}
                """.ReplaceLineEndings("")));
        });
        Assert.That((await _server.GetJsonAsync("/v2/models/digits")).GetRawText(), Is.EqualTo(model.GetRawText()));
    }

    [Test]
    public async Task Health_is_told()
    {
        Assert.That((await _server.GetJsonAsync("/v2/health/live")).GetRawText(), Is.EqualTo("""{"live":true}"""));
        Assert.That((await _server.GetJsonAsync("/v2/health/ready")).GetRawText(), Is.EqualTo("""{"ready":true}"""));
        Assert.That((await _server.GetJsonAsync("/v2/models/digits/ready")).GetRawText(), Is.EqualTo("""{"ready":true,"name":"digits"}"""));
        Assert.That((await _server.GetJsonAsync("/v2/models/digits/versions/1/ready")).GetRawText(), Is.EqualTo("""{"ready":true,"name":"digits"}"""));
    }

    [Test]
    public async Task Json_brings_the_pixels_that_the_engine_makes()
    {
        var alone = await _server.Model.Scheduler.GenerateAsync(s_two);
        var answer = await _server.PostJsonAsync(Infer, Text("{'id':'x','inputs':[" + Two + "," + Seed + "," + Steps + "]}"));
        var output = answer.GetProperty("outputs")[0];
        Assert.Multiple(() =>
        {
            Assert.That(answer.GetProperty("model_name").GetString(), Is.EqualTo("digits"));
            Assert.That(answer.GetProperty("model_version").GetString(), Is.EqualTo("1"));
            Assert.That(answer.GetProperty("id").GetString(), Is.EqualTo("x"));
            Assert.That(answer.GetProperty("parameters").GetProperty("seed").GetInt32(), Is.EqualTo(5));
            Assert.That(output.GetProperty("shape").EnumerateArray().Select(e => e.GetInt32()), Is.EqualTo(new[] { 2, 32, 32, 1 }));
            Assert.That(output.GetProperty("data").EnumerateArray().Select(e => e.GetByte()), Is.EqualTo(alone.SelectMany(i => _server.Model.ToImage(i).Pixels)));
        });
    }

    [Test]
    public async Task Binary_tensors_go_in_and_come_out()
    {
        var alone = await _server.Model.Scheduler.GenerateAsync(s_two);
        var json = "{'parameters':{'binary_data_output':true},'inputs':["
            + "{'name':'class_labels','datatype':'INT32','shape':[2],'parameters':{'binary_data_size':8}}," + Steps + ","
            + "{'name':'seed','datatype':'INT64','shape':[2],'parameters':{'binary_data_size':16}}],"
            + "'outputs':[{'name':'png'},{'name':'latents','parameters':{'binary_data':false}},{'name':'images'}]}";
        var (answer, binary) = await PostBinaryAsync(json, [.. Int32(3, 7), .. BitConverter.GetBytes(5L), .. BitConverter.GetBytes(6L)]);
        var files = alone.Select(i => _server.Model.Encode(s_two, i, ".png")).ToArray();
        var outputs = answer.GetProperty("outputs").EnumerateArray().ToArray();
        byte[] expected = [.. files.SelectMany(f => Int32(f.Length).Concat(f)), .. alone.SelectMany(i => _server.Model.ToImage(i).Pixels)];
        Assert.Multiple(() =>
        {
            Assert.That(outputs.Select(o => o.GetProperty("name").GetString()), Is.EqualTo(new[] { "png", "latents", "images" }));
            Assert.That(outputs[2].GetProperty("parameters").GetProperty("binary_data_size").GetInt32(), Is.EqualTo(2 * 32 * 32));
            Assert.That(outputs[1].GetProperty("data").EnumerateArray().Select(e => e.GetSingle()), Is.EqualTo(alone.SelectMany(i => i.Latent)));
            Assert.That(binary, Is.EqualTo(expected));
        });
    }

    [Test]
    public async Task Images_start_from_the_latents_that_are_sent()
    {
        var random = new Random(3);
        var latents = Enumerable.Range(0, 32 * 32).Select(_ => (float)(random.NextDouble() * 2 - 1)).ToArray();
        var request = new GenerationRequest { Labels = [3], Seed = 5, Sampler = new SamplerOptions { Steps = 2, Sampler = "ddpm" }, GuidanceScale = 1.5, InitialLatents = latents, Decodes = false };
        var alone = await _server.Model.Scheduler.GenerateAsync(request);
        var json = "{'inputs':[" + Labels + "," + Seed + "," + Steps + ",{'name':'cfg_scale','datatype':'FP32','shape':[1],'data':[1.5]},{'name':'sampler','datatype':'BYTES','shape':[1],'data':['ddpm']},"
            + "{'name':'latents','datatype':'FP32','shape':[1,1,32,32],'parameters':{'binary_data_size':4096}}],'outputs':[{'name':'latents','parameters':{'binary_data':true}}]}";
        var (_, binary) = await PostBinaryAsync(json, Fp32(latents));
        Assert.That(MemoryMarshal.Cast<byte, float>(binary).ToArray(), Is.EqualTo(alone[0].Latent));
    }

    [Test]
    public async Task A_drawn_seed_is_told()
    {
        var json = "{'inputs':[" + Labels + "," + Steps + "],'outputs':[{'name':'png'}]}";
        var drawn = await _server.PostJsonAsync(Infer, Text(json));
        var seed = drawn.GetProperty("parameters").GetProperty("seed").GetRawText();
        var again = await _server.PostJsonAsync(Infer, Text(json.Replace(Labels, Labels + ",{'name':'seed','datatype':'INT64','shape':[1],'data':[" + seed + "]}", StringComparison.Ordinal)));
        Assert.That(File(again), Is.EqualTo(File(drawn)));
        Assert.That(File(drawn), Has.Length.GreaterThan(100));
    }

    [TestCase("/v2/models/other/infer", 404, "other: no such model, expected digits")]
    [TestCase("/v2/models/digits/versions/2/infer", 404, "digits: no version 2, expected 1")]
    [TestCase("/v2/models/digits/versions/1/infer", 400, "inputs: expected at least one tensor")]
    [TestCase("/v2/nowhere", 404, "there is nothing at this address")]
    [TestCase("/v2/health/live", 405, "this address does not take POST")]
    public async Task Refusals_have_the_shape_of_the_protocol(string path, int status, string message) => await AssertErrorAsync(await _server.PostAsync(path, "{}"), status, message);

    [Test]
    public async Task What_is_wrong_with_a_tensor_is_told()
    {
        await AssertErrorAsync(await _server.PostAsync(Infer, Text(WithInput(Labels.Replace("[3]", "[3,4]", StringComparison.Ordinal)))), 400, "class_labels: data hold more elements than shape [1]");
        await AssertErrorAsync(await _server.PostAsync(Infer, Text(WithInput(Labels.Replace("[3]", "[10]", StringComparison.Ordinal)))), 422, "class_labels: class 10, expected 0 to 9");
    }

    [TestCase("text/plain", 415)]
    [TestCase("application/json; charset=utf-8", 400)]
    [TestCase("application/octet-stream", 400)]
    [TestCase(null, 400)]
    public async Task Content_types_are_checked(string? type, int status)
    {
        using var content = new ByteArrayContent(Json("{}"));
        if (type is not null) content.Headers.ContentType = MediaTypeHeaderValue.Parse(type);
        using var answer = await _server.Client.PostAsync(Infer, content);
        Assert.That((int)answer.StatusCode, Is.EqualTo(status));
    }

    [Test]
    public async Task Tensors_may_take_32_megabytes_and_no_more()
    {
        await AssertErrorAsync(await PostBytesAsync(Infer, new ByteArrayContent(new byte[32 << 20])), 400, "the request is not valid JSON");
        await AssertErrorAsync(await PostBytesAsync(Infer, new ByteArrayContent(new byte[(32 << 20) + 1])), 413, "the body is too large");
        await AssertErrorAsync(await PostBytesAsync(Infer, new StreamContent(new UnannouncedStream(new byte[(32 << 20) + 1]))), 413, "the body is too large");
        using var elsewhere = await PostBytesAsync("/v1/images/generations", new ByteArrayContent(new byte[2 << 20]));
        Assert.That(elsewhere.StatusCode, Is.EqualTo(HttpStatusCode.RequestEntityTooLarge));
    }

    [Test]
    public async Task Large_bodies_share_a_bounded_memory()
    {
        // Each is announced as large as may be and never comes; the ninth finds the memory taken.
        var waiting = new List<TcpClient>();
        for (var i = 0; i < 8; i++) waiting.Add(await AnnounceAsync());
        await ServerFixture.UntilAsync(() => RefusedAsync().GetAwaiter().GetResult());
        foreach (var client in waiting) client.Dispose();
        await ServerFixture.UntilAsync(() => !RefusedAsync().GetAwaiter().GetResult());
        using var small = await _server.PostAsync(Infer, "{}");
        Assert.That(small.StatusCode, Is.EqualTo(HttpStatusCode.BadRequest));
    }

    [Test]
    public async Task A_client_that_goes_takes_its_images_along()
    {
        _server.Hold();
        using var gone = new CancellationTokenSource();
        var request = _server.Client.PostAsync(Infer, new ByteArrayContent(Json("{'inputs':[" + Labels + "]}")), gone.Token);
        await _server.PassAsync();
        await gone.CancelAsync();
        _server.Release();
        Assert.That(async () => await request, Throws.InstanceOf<OperationCanceledException>());
        await ServerFixture.UntilAsync(() => _server.Model.Scheduler.Load is { RunningImages: 0, QueuedRequests: 0 });
    }

    [Test]
    public async Task A_service_that_drains_refuses_and_finishes_what_it_has()
    {
        await using var server = await ServerFixture.StartAsync();
        server.Hold();
        var accepted = server.PostAsync(Infer, Text("{'inputs':[" + Labels + "," + Steps + "]}"));
        await server.PassAsync();
        var stopping = server.App.StopAsync();
        await ServerFixture.UntilAsync(() => server.Host.State == ServingState.Draining);
        using var ready = await server.Client.GetAsync("/v2/health/ready");
        using var live = await server.Client.GetAsync("/v2/health/live");
        using var refused = await server.PostAsync(Infer, Text(WithInput(Labels)));
        server.Release();
        await AssertErrorAsync(ready, 503, "the service is about to end");
        Assert.That(ready.Headers.RetryAfter, Is.Not.Null);
        Assert.That(live.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        await AssertErrorAsync(refused, 503, "the service is about to end");
        using var answer = await accepted;
        Assert.That(answer.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        await stopping;
    }

    [Test]
    public async Task A_full_queue_and_a_failed_step_are_told_in_the_shape_of_the_protocol()
    {
        await using var server = await ServerFixture.StartAsync(configure: model => model.Scheduler = model.Scheduler with { MaxQueue = 1, MaxBatch = 2 });
        server.Hold();
        var running = server.PostAsync(Infer, Text(WithInput(Labels)));
        await server.PassAsync();
        var waiting = server.PostAsync(Infer, Text(WithInput(Labels)));
        await ServerFixture.UntilAsync(() => server.Model.Scheduler.Load.QueuedRequests == 1);
        using var refused = await server.PostAsync(Infer, Text(WithInput(Labels)));
        await AssertErrorAsync(refused, 429, "the queue is full");
        Assert.That(refused.Headers.RetryAfter, Is.Not.Null);
        server.BeforePass = () => throw new InvalidOperationException("secret");
        server.Release();
        await AssertErrorAsync(await running, 500, "the request failed inside the service");
        await AssertErrorAsync(await waiting, 500, "the request failed inside the service");
    }

    /// <summary>Sends the body once the server has said that it wants it.</summary>
    private async Task<HttpResponseMessage> PostBytesAsync(string path, HttpContent content)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = content };
        content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        request.Headers.ExpectContinue = true;
        return await _server.Client.SendAsync(request);
    }

    private async Task<TcpClient> AnnounceAsync()
    {
        var client = new TcpClient();
        await client.ConnectAsync(_server.Address.Host, _server.Address.Port);
        await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes($"POST {Infer} HTTP/1.1\r\nHost: x\r\nContent-Length: {32 << 20}\r\n\r\n"));
        return client;
    }

    private async Task<bool> RefusedAsync()
    {
        using var answer = await PostBytesAsync(Infer, new ByteArrayContent(new byte[32 << 20]));
        return answer.StatusCode == HttpStatusCode.TooManyRequests;
    }

    private static string Text(string json) => json.Replace('\'', '"');

    private static byte[] File(JsonElement answer) => answer.GetProperty("outputs")[0].GetProperty("data")[0].GetBytesFromBase64();

    private static async Task AssertErrorAsync(HttpResponseMessage answer, int status, string message)
    {
        var text = await answer.Content.ReadAsStringAsync();
        Assert.That((int)answer.StatusCode, Is.EqualTo(status), text);
        var error = JsonDocument.Parse(text).RootElement.EnumerateObject().Single();
        Assert.That(error.Name, Is.EqualTo("error"));
        Assert.That(error.Value.GetString(), Does.StartWith(message).And.Not.Contain('\n').And.Not.Contain("secret"));
    }

    private async Task<(JsonElement Json, byte[] Binary)> PostBinaryAsync(string json, byte[] binary)
    {
        var head = Json(json);
        using var content = new ByteArrayContent([.. head, .. binary]);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        content.Headers.Add("Inference-Header-Content-Length", head.Length.ToString(CultureInfo.InvariantCulture));
        using var answer = await _server.Client.PostAsync(Infer, content);
        var body = await answer.Content.ReadAsByteArrayAsync();
        Assert.That(answer.StatusCode, Is.EqualTo(HttpStatusCode.OK), () => Encoding.UTF8.GetString(body));
        Assert.That(answer.Content.Headers.ContentType!.MediaType, Is.EqualTo("application/octet-stream"));
        var length = int.Parse(answer.Headers.GetValues("Inference-Header-Content-Length").Single(), CultureInfo.InvariantCulture);
        return (JsonDocument.Parse(body.AsMemory(0, length)).RootElement, body[length..]);
    }

    /// <summary>A stream that does not tell its length, so that it is sent in chunks.</summary>
    private sealed class UnannouncedStream(byte[] bytes) : MemoryStream(bytes)
    {
        public override bool CanSeek => false;
    }
}

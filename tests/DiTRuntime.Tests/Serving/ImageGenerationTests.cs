using System.Net;
using System.Text.Json;
using DiTRuntime.Tests.Cli;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Serving;

public sealed class ImageGenerationTests
{
    private const string Generations = "/v1/images/generations";

    private ServerFixture _server = null!;

    [OneTimeSetUp]
    public async Task Start() => _server = await ServerFixture.StartAsync();

    [OneTimeTearDown]
    public async Task Stop() => await _server.DisposeAsync();

    [Test]
    public async Task Files_have_the_bytes_that_the_command_writes()
    {
        using var folder = new TemporaryFolder();
        CliRunner.Run(
            "generate", "--backend", "cpu", "--class-labels", "3,7", "--seed", "11", "--steps", "4", "--sampler", "ddim", "--eta", "0.5", "--spacing", "linspace", "--cfg-scale", "2.5", "--out", folder["{index}.png"]).Succeeded();
        var answer = await _server.PostJsonAsync(Generations, """{"prompt":"3,7","seed":11,"steps":4,"sampler":"ddim","eta":0.5,"spacing":"linspace","guidance_scale":2.5}""");
        var data = answer.GetProperty("data");
        for (var i = 0; i < 2; i++) Assert.That(data[i].GetProperty("b64_json").GetBytesFromBase64(), Is.EqualTo(File.ReadAllBytes(folder[$"{i}.png"])), $"image {i}");
    }

    [Test]
    public async Task An_answer_has_every_documented_field()
    {
        var answer = await _server.PostJsonAsync(Generations, """{"class_label":3,"n":2,"seed":9,"steps":2,"user":"me","quality":"high","style":null,"unknown":{}}""");
        var first = answer.GetProperty("data")[0];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.EnumerateObject().Select(p => p.Name), Is.EquivalentTo(new[] { "created", "data", "output_format", "size", "seed", "model", "usage" }));
            Assert.That(first.EnumerateObject().Select(p => p.Name), Is.EquivalentTo(new[] { "b64_json", "url", "revised_prompt", "seed", "class_label", "class_name" }));
            Assert.That(answer.GetProperty("data").EnumerateArray().Select(image => image.GetProperty("seed").GetUInt64()), Is.EqualTo(new[] { 9, 10 }));
            Assert.That(answer.GetProperty("size").GetString(), Is.EqualTo("32x32"));
            Assert.That(answer.GetProperty("model").GetString(), Is.EqualTo("digits"));
            Assert.That(answer.GetProperty("usage").GetProperty("steps").GetInt32(), Is.EqualTo(4));
            Assert.That(first.GetProperty("url").ValueKind, Is.EqualTo(JsonValueKind.Null));
        }
    }

    [TestCase("""{"prompt":"4"}""", new[] { 4 })]
    [TestCase("""{"prompt":["4","5"]}""", new[] { 4, 5 })]
    [TestCase("""{"prompt":[4, "5"]}""", new[] { 4, 5 })]
    [TestCase("""{"prompt":"4, 5,6"}""", new[] { 4, 5, 6 })]
    [TestCase("""{"prompt":"4, 5","n":3}""", new[] { 4, 5, 4 })]
    [TestCase("""{"prompt":"4, 5","n":1}""", new[] { 4 })]
    [TestCase("""{"prompt":"a dog","class_label":2}""", new[] { 2 })]
    [TestCase("""{"class_labels":[2,"3"],"class_label":null}""", new[] { 2, 3 })]
    public async Task Classes_are_understood_as_people_write_them(string body, int[] labels)
    {
        var answer = await _server.PostJsonAsync(Generations, body[..^1] + ",\"steps\":1,\"guidance_scale\":1}");
        Assert.That(answer.GetProperty("data").EnumerateArray().Select(image => image.GetProperty("class_label").GetInt32()), Is.EqualTo(labels));
    }

    [Test]
    public async Task A_seed_that_is_drawn_is_told_and_makes_the_same_images_again()
    {
        var drawn = await _server.PostJsonAsync(Generations, """{"prompt":"1","seed":-1,"steps":1,"guidance_scale":1}""");
        var again = await _server.PostJsonAsync(Generations, $$"""{"prompt":"1","seed":{{drawn.GetProperty("seed").GetRawText()}},"steps":1,"guidance_scale":1}""");
        Assert.That(File(again), Is.EqualTo(File(drawn)));
        static byte[] File(JsonElement answer) => answer.GetProperty("data")[0].GetProperty("b64_json").GetBytesFromBase64();
    }

    [Test]
    public async Task Known_names_of_other_services_are_taken()
    {
        var body = """{"prompt":"1","seed":5,"num_inference_steps":2,"cfg_scale":1.5,"size":"auto","model":"digits","response_format":"b64_json","output_format":"png"}""";
        var answer = await _server.PostJsonAsync(Generations, body);
        Assert.That(answer.GetProperty("usage").GetProperty("steps").GetInt32(), Is.EqualTo(2));
    }

    [Test]
    public async Task A_link_leads_to_the_same_file_from_memory_and_drawn_again()
    {
        const string Body = """{"prompt":"6","seed":8,"steps":3,"eta":0.25}""";
        var file = (await _server.PostJsonAsync(Generations, Body)).GetProperty("data")[0].GetProperty("b64_json").GetBytesFromBase64();
        var image = (await _server.PostJsonAsync(Generations, Body[..^1] + ",\"response_format\":\"url\"}")).GetProperty("data")[0];
        Assert.That(image.GetProperty("b64_json").ValueKind, Is.EqualTo(JsonValueKind.Null));
        var url = new Uri(image.GetProperty("url").GetString()!);
        Assert.That(url.GetLeftPart(UriPartial.Authority), Is.EqualTo(_server.Address.GetLeftPart(UriPartial.Authority)));
        Assert.That(await _server.Client.GetByteArrayAsync(url), Is.EqualTo(file));
        await using var replica = await ServerFixture.StartAsync();
        Assert.That(await replica.Client.GetByteArrayAsync(url.PathAndQuery), Is.EqualTo(file));
    }

    [Test]
    public async Task A_file_is_recognised_by_its_tag_without_being_drawn()
    {
        using var first = await _server.Client.GetAsync("/v1/images?class=2&seed=1&steps=2");
        Assert.That(first.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        Assert.That(first.Content.Headers.ContentType?.MediaType, Is.EqualTo("image/png"));
        Assert.That(first.Headers.CacheControl?.ToString(), Does.Contain("immutable"));
        _server.Hold();
        try
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, "/v1/images?steps=2&seed=1&class=2&sampler=ddim");
            request.Headers.IfNoneMatch.Add(first.Headers.ETag!);
            using var second = await _server.Client.SendAsync(request);
            Assert.That(second.StatusCode, Is.EqualTo(HttpStatusCode.NotModified));
        }
        finally
        {
            _server.Release();
        }

        using var other = await _server.Client.GetAsync("/v1/images?class=2&seed=2&steps=2");
        Assert.That(other.Headers.ETag, Is.Not.EqualTo(first.Headers.ETag));
    }

    [Test]
    public async Task A_model_tells_what_can_be_asked_of_it()
    {
        var list = await _server.GetJsonAsync("/v1/models");
        Assert.That(list.GetProperty("object").GetString(), Is.EqualTo("list"));
        Assert.That(list.GetProperty("data")[0].GetProperty("id").GetString(), Is.EqualTo("digits"));
        var model = await _server.GetJsonAsync("/v1/models/digits");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(model.GetProperty("classes").GetArrayLength(), Is.EqualTo(10));
            Assert.That(model.GetProperty("image_size").GetInt32(), Is.EqualTo(32));
            Assert.That(model.GetProperty("limits").GetProperty("images").GetInt32(), Is.EqualTo(10));
            Assert.That(model.GetProperty("defaults").GetProperty("steps").GetInt32(), Is.EqualTo(50));
            Assert.That(model.GetProperty("hash").GetString(), Has.Length.EqualTo(10));
        }
    }

    [Test]
    public async Task Many_clients_at_once_each_get_their_own_image()
    {
        var expected = new Dictionary<int, byte[]>();
        for (var seed = 0; seed < 4; seed++) expected[seed] = await FileAsync(seed);
        var answers = await Task.WhenAll(Enumerable.Range(0, 40).Select(async i => (Seed: i % 4, File: await FileAsync(i % 4))));
        Assert.That(answers, Has.All.Matches<(int Seed, byte[] File)>(answer => answer.File.AsSpan().SequenceEqual(expected[answer.Seed])));

        async Task<byte[]> FileAsync(int seed) =>
            (await _server.PostJsonAsync(Generations, $$"""{"prompt":"{{seed}}","seed":{{seed}},"steps":2}""")).GetProperty("data")[0].GetProperty("b64_json").GetBytesFromBase64();
    }
}

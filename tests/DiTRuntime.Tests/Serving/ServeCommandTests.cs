using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using DiTRuntime.Tests.Cli;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Serving;

/// <summary><c>dit serve</c> as a user and a system manager see it.</summary>
public sealed class ServeCommandTests
{
    [TestCase("--port -1", "--port", "-1")]
    [TestCase("--port 70000", "--port", "70000")]
    [TestCase("--host nowhere", "--host", "nowhere")]
    [TestCase("--max-queue 0", "--max-queue", "0")]
    [TestCase("--max-images 0", "--max-images", "0")]
    [TestCase("--max-batch -1", "--max-batch", "-1")]
    [TestCase("--max-connections 0", "--max-connections", "0")]
    [TestCase("--modulation-mb 0", "--modulation-mb", "0")]
    [TestCase("--job-minutes 0", "--job-minutes", "0")]
    [TestCase("--grace -1", "--grace", "-1")]
    [TestCase("--max-vram 0", "--max-vram", "0")]
    public void A_flag_that_makes_no_sense_ends_with_2(string found, string flag, string value) =>
        CliRunner.Run(["serve", flag, value, .. flag == "--port" ? Array.Empty<string>() : ["--port", "0"]]).Failed(ExitCode.Usage, found);

    [Test]
    public void A_port_that_is_taken_ends_with_2()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var port = ((IPEndPoint)listener.LocalEndpoint).Port;
        CliRunner.Run("serve", "--port", $"{port}", "--backend", "cpu").Failed(ExitCode.Usage, $"--port {port}");
    }

    [Test]
    public void A_model_that_cannot_be_loaded_ends_with_3()
    {
        var result = CliRunner.Run("serve", "--port", "0", "--backend", "cpu", "--quiet", "--model", "missing.safetensors");
        Assert.That(result.Code, Is.EqualTo((int)ExitCode.InvalidFile));
        Assert.That(result.ErrorLines[^1], Does.StartWith("dit: missing.safetensors"));
    }

    [TestCase("", "no key")]
    [TestCase("# only a remark\n\n", "no key")]
    [TestCase("good\nbad key\n", "line 2")]
    public void A_file_of_keys_without_keys_is_refused(string text, string found)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["keys"], text);
        CliRunner.Run("serve", "--port", "0", "--api-key-file", folder["keys"]).Failed(ExitCode.InvalidFile, found);
    }

    [Test]
    public async Task A_signal_lets_accepted_requests_finish_refuses_new_ones_and_ends_with_0()
    {
        if (OperatingSystem.IsWindows()) Assert.Ignore("signals are sent with kill");
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["keys"], "# for the test\nthe-key\n");
        using var process = CliRunner.Start("dotnet", [CliRunner.Program, "serve", "--port", "0", "--backend", "cpu", "--json", "--api-key-file", folder["keys"]]);
        var output = new StringBuilder();
        for (var line = await process.StandardOutput.ReadLineAsync(); line is not null; line = await process.StandardOutput.ReadLineAsync())
        {
            output.Append(line);
            if (line == "}") break;
        }

        using var client = new HttpClient { BaseAddress = new Uri(JsonDocument.Parse(output.ToString()).RootElement.GetProperty("url").GetString()!) };
        client.DefaultRequestHeaders.Add("X-API-Key", "the-key");
        await ReadyAsync(client);
        var accepted = PostAsync(client, """{"prompt":"1","n":10,"steps":50}""");
        await LoadAsync<int>(client, "running_images", count => count > 0);
        using (var kill = CliRunner.Start("kill", ["-TERM", $"{process.Id}"])) await kill.WaitForExitAsync();
        await LoadAsync<string>(client, "state", state => state == "draining");
        using (var refused = await PostAsync(client, """{"prompt":"1","steps":1}""")) await ServerFixture.AssertErrorAsync(refused, 503, "draining");
        using (var answer = await accepted)
        {
            Assert.That(answer.StatusCode, Is.EqualTo(HttpStatusCode.OK));
            Assert.That((await ServerFixture.JsonAsync(answer)).GetProperty("data").GetArrayLength(), Is.EqualTo(10));
        }

        var result = CliRunner.Finish(process);
        Assert.That(result.Code, Is.Zero, result.Error);
        Assert.That(result.Error, Does.Match(@"^listening on http://127\.0\.0\.1:\d+\nready: digits on cpu.*\n$"));
        Assert.That(result.Error, Does.Not.Contain("the-key"));
    }

    private static Task<HttpResponseMessage> PostAsync(HttpClient client, string body) =>
        client.PostAsync("/v1/images/generations", new StringContent(body, Encoding.UTF8, "application/json"));

    private static async Task ReadyAsync(HttpClient client)
    {
        for (var patience = Stopwatch.StartNew(); patience.Elapsed < TimeSpan.FromSeconds(60); await Task.Delay(20))
        {
            using var ready = await client.GetAsync("/readyz");
            if (ready.IsSuccessStatusCode) return;
        }

        Assert.Fail("the service was never ready");
    }

    private static async Task LoadAsync<T>(HttpClient client, string field, Func<T, bool> condition)
    {
        for (var patience = Stopwatch.StartNew(); patience.Elapsed < TimeSpan.FromSeconds(60); await Task.Delay(5))
        {
            using var document = JsonDocument.Parse(await client.GetStringAsync("/v1/load"));
            if (condition(JsonSerializer.Deserialize<T>(document.RootElement.GetProperty(field))!)) return;
        }

        Assert.Fail($"{field} never came to be what was waited for");
    }
}

using System.Net;
using System.Net.Sockets;
using System.Text;
using DiTRuntime.Serving;
using DiTRuntime.Serving.Http;

namespace DiTRuntime.Tests.Serving;

/// <summary>Keys, and clients that mean no good.</summary>
public sealed class AccessTests
{
    [Test]
    public async Task Without_a_key_only_health_is_told()
    {
        await using var server = await ServerFixture.StartAsync(new ServerOptions { ApiKeys = ["first-key", "second-key"] });
        foreach (var path in new[] { "/v1/models", "/v1/load", "/v1/images?class=1", "/v1/jobs", "/nothing" })
        {
            using var refused = await server.Client.GetAsync(path);
            await ServerFixture.AssertErrorAsync(refused, 401, "invalid_api_key");
            Assert.That(refused.Headers.WwwAuthenticate.ToString(), Is.EqualTo("Bearer"));
        }

        foreach (var path in new[] { "/healthz", "/readyz" })
        {
            using var open = await server.Client.GetAsync(path);
            Assert.That(open.StatusCode, Is.EqualTo(HttpStatusCode.OK), path);
        }
    }

    [TestCase("Authorization", "Bearer second-key", 200)]
    [TestCase("Authorization", "bearer first-key", 200)]
    [TestCase("X-API-Key", "first-key", 200)]
    [TestCase("Authorization", "Bearer first-ke", 401)]
    [TestCase("Authorization", "Bearer first-key2", 401)]
    [TestCase("Authorization", "Bearer ", 401)]
    [TestCase("Authorization", "Basic first-key", 401)]
    [TestCase("X-API-Key", "", 401)]
    public async Task A_key_is_taken_from_either_header(string header, string value, int status)
    {
        await using var server = await ServerFixture.StartAsync(new ServerOptions { ApiKeys = ["first-key", "second-key"] });
        using var request = new HttpRequestMessage(HttpMethod.Get, "/v1/models");
        request.Headers.TryAddWithoutValidation(header, value);
        using var response = await server.Client.SendAsync(request);
        Assert.That((int)response.StatusCode, Is.EqualTo(status));
    }

    [Test]
    public void Every_key_is_compared_whole()
    {
        var keys = new ApiKeys(["a", "bb"]);
        Assert.That(new[] { "a", "bb", "b", "ab", "", null }.Select(keys.Accepts), Is.EqualTo(new[] { true, true, false, false, false, false }));
    }

    [Test]
    public async Task A_body_that_is_too_large_is_refused_before_it_is_read()
    {
        await using var server = await ServerFixture.StartAsync();
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, server.Address.Port);
        await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes($"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {10 << 20}\r\n\r\n{{"));
        using var reader = new StreamReader(client.GetStream());
        Assert.That(await reader.ReadToEndAsync().WaitAsync(TimeSpan.FromSeconds(60)), Does.StartWith("HTTP/1.1 413").And.Contain("\"code\":\"too_large\""));
    }

    [Test]
    public async Task A_body_that_does_not_tell_its_length_is_refused_once_it_is_too_large()
    {
        await using var server = await ServerFixture.StartAsync();
        using var content = new ByteArrayContent(Encoding.UTF8.GetBytes($$"""{"prompt":"{{new string('1', 10 << 20)}}"}"""));
        content.Headers.ContentType = new("application/json");
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/images/generations") { Content = content };
        request.Headers.TransferEncodingChunked = true;
        try
        {
            using var response = await server.Client.SendAsync(request);
            await ServerFixture.AssertErrorAsync(response, 413, "too_large");
        }
        catch (HttpRequestException)
        {
            // The connection is closed while the client still writes; whether it sees the answer then is up to its system.
        }

        await server.PostJsonAsync("/v1/images/generations", """{"prompt":"1","steps":1}""");
    }

    [Test]
    public async Task Headers_that_are_too_large_are_refused()
    {
        await using var server = await ServerFixture.StartAsync();
        using var request = new HttpRequestMessage(HttpMethod.Get, "/healthz");
        request.Headers.Add("X-Long", new string('x', 20_000));
        using var response = await server.Client.SendAsync(request);
        Assert.That((int)response.StatusCode, Is.EqualTo(431));
    }

    [Test]
    public async Task Headers_that_never_end_cost_their_sender_the_connection_and_nobody_else_anything()
    {
        await using var server = await ServerFixture.StartAsync(new ServerOptions { HeaderTimeout = TimeSpan.FromSeconds(1) });
        var slow = new List<TcpClient>();
        try
        {
            for (var i = 0; i < 100; i++)
            {
                var client = new TcpClient();
                await client.ConnectAsync(IPAddress.Loopback, server.Address.Port);
                await client.GetStream().WriteAsync("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "u8.ToArray());
                slow.Add(client);
            }

            await server.PostJsonAsync("/v1/images/generations", """{"prompt":"1","steps":1}""");
            foreach (var client in slow)
            {
                using var reader = new StreamReader(client.GetStream());
                var answer = await reader.ReadToEndAsync().WaitAsync(TimeSpan.FromSeconds(30));
                Assert.That(answer, Is.Empty.Or.StartWith("HTTP/1.1 408"));
            }
        }
        finally
        {
            foreach (var client in slow) client.Dispose();
        }
    }

    [Test]
    public async Task A_body_that_never_comes_is_not_waited_for()
    {
        await using var server = await ServerFixture.StartAsync();
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, server.Address.Port);
        await client.GetStream().WriteAsync("POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"u8.ToArray());
        using var reader = new StreamReader(client.GetStream());
        var answer = await reader.ReadToEndAsync().WaitAsync(TimeSpan.FromSeconds(60));
        Assert.That(answer, Does.StartWith("HTTP/1.1 408").And.Contain("\"code\":\"timeout\""));
    }

    [Test]
    public async Task One_address_cannot_take_all_connections()
    {
        await using var server = await ServerFixture.StartAsync(new ServerOptions { MaxConnections = 8 });
        var held = new List<TcpClient>();
        try
        {
            for (var i = 0; i < 8; i++)
            {
                var client = new TcpClient();
                await client.ConnectAsync(IPAddress.Loopback, server.Address.Port);
                held.Add(client);
            }

            // The last two are closed by the server.
            foreach (var client in held[6..]) Assert.That(await client.GetStream().ReadAsync(new byte[1]).AsTask().WaitAsync(TimeSpan.FromSeconds(30)), Is.Zero);
            using var other = new TcpClient(new IPEndPoint(IPAddress.Parse("127.0.0.2"), 0));
            await other.ConnectAsync(IPAddress.Loopback, server.Address.Port);
            await other.GetStream().WriteAsync("GET /healthz HTTP/1.0\r\n\r\n"u8.ToArray());
            using var reader = new StreamReader(other.GetStream());
            Assert.That(await reader.ReadLineAsync(), Is.EqualTo("HTTP/1.1 200 OK"));
        }
        finally
        {
            foreach (var client in held) client.Dispose();
        }

        // And those that are gone no longer count.
        await ServerFixture.UntilAsync(() => server.Client.GetAsync("/healthz").ContinueWith(answer => answer.IsCompletedSuccessfully).Result);
    }
}

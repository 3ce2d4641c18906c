using System.Net;
using DiTRuntime.Models;
using DiTRuntime.Models.Scheduling;
using DiTRuntime.Quantization;
using DiTRuntime.Serving;
using DiTRuntime.Tests.Checkpoints;
using DiTRuntime.Tests.Models;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace DiTRuntime.Tests.Serving;

/// <summary>From the start of a service to its end.</summary>
public sealed class LifetimeTests
{
    [Test]
    public async Task While_the_model_is_loaded_the_service_lives_and_is_not_ready()
    {
        using var gate = new ManualResetEventSlim();
        await using var server = await ServerFixture.StartAsync(waits: false, configure: model =>
        {
            var open = model.OpenBackend!;
            model.OpenBackend = () =>
            {
                gate.Wait();
                return open();
            };
        });
        using (var live = await server.Client.GetAsync("/healthz")) Assert.That(live.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        using (var ready = await server.Client.GetAsync("/readyz"))
        {
            Assert.That(ready.StatusCode, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
            Assert.That((await ServerFixture.JsonAsync(ready)).GetProperty("status").GetString(), Is.EqualTo("loading"));
        }

        using (var refused = await server.PostAsync("/v1/images/generations", """{"prompt":"1"}"""))
        {
            await ServerFixture.AssertErrorAsync(refused, 503, "loading");
            Assert.That(refused.Headers.RetryAfter?.Delta, Is.Not.Null);
        }

        Assert.That((await server.GetJsonAsync("/v1/load")).GetProperty("state").GetString(), Is.EqualTo("loading"));
        gate.Set();
        await server.Host.Loaded;
        using (var ready = await server.Client.GetAsync("/readyz")) Assert.That(ready.StatusCode, Is.EqualTo(HttpStatusCode.OK));
    }

    [Test]
    public async Task A_model_that_cannot_be_loaded_is_told()
    {
        await using var server = await ServerFixture.StartAsync(waits: false, configure: model => model.Model = "missing.safetensors");
        Assert.That(async () => await server.Host.Loaded, Throws.TypeOf<InvalidFileException>());
        Assert.That(server.Host.State, Is.EqualTo(ServingState.Failed));
        using var refused = await server.PostAsync("/v1/images/generations", """{"prompt":"1"}""");
        await ServerFixture.AssertErrorAsync(refused, 503, "no_model");
    }

    [Test]
    public async Task A_model_file_that_is_overwritten_cut_or_deleted_does_not_reach_the_images([Values] bool packed, [Values("overwrite", "cut", "delete")] string harm)
    {
        using var folder = new TestFolder();
        var path = folder["model.safetensors"];
        if (packed)
        {
            using var source = DiTWeightsLoader.Load(TestFiles.DigitModel);
            PackedFiles.Write(path, source, PackedModelPlan.Uniform(source.Config, new GroupFormat(4, 96), ActivationMode.Float, packAll: true));
        }
        else
        {
            File.Copy(TestFiles.DigitModel, path);
        }

        await using var server = await ServerFixture.StartAsync(configure: model => model.Model = path);
        // Another class each time, so that adaLN is asked again.
        async Task<string?> ImageAsync(int label) =>
            (await server.PostJsonAsync("/v1/images/generations", $$"""{"prompt":"{{label}}","seed":1,"steps":2}""")).GetProperty("data")[0].GetProperty("b64_json").GetString();
        string?[] before = [await ImageAsync(1), await ImageAsync(2)];
        if (harm == "delete")
        {
            File.Delete(path);
        }
        else
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
            if (harm == "cut") file.SetLength(100);
            else file.Write(new byte[file.Length]);
        }

        Assert.That(await ImageAsync(3), Is.Not.Null);
        Assert.That(new[] { await ImageAsync(1), await ImageAsync(2) }, Is.EqualTo(before));
    }

    [Test]
    public async Task What_was_accepted_is_finished_and_what_is_new_is_refused_before_the_end()
    {
        await using var server = await ServerFixture.StartAsync();
        server.Hold();
        var accepted = server.PostAsync("/v1/images/generations", """{"prompt":"1","steps":2}""");
        await server.PassAsync();
        var end = server.App.StopAsync();
        await ServerFixture.UntilAsync(() => server.Host.State == ServingState.Draining);
        using (var refused = await server.PostAsync("/v1/images/generations", """{"prompt":"1","steps":2}""")) await ServerFixture.AssertErrorAsync(refused, 503, "draining");
        using (var ready = await server.Client.GetAsync("/readyz")) Assert.That(ready.StatusCode, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
        using (var live = await server.Client.GetAsync("/healthz")) Assert.That(live.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        server.Release();
        using (var answer = await accepted) Assert.That(answer.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        await end;
        Assert.That(server.Host.EndedInTime, Is.True);
    }

    [Test]
    public async Task What_does_not_end_in_time_is_cancelled()
    {
        await using var server = await ServerFixture.StartAsync(configure: model => model.Grace = TimeSpan.FromMilliseconds(50));
        server.BeforePass = () => Thread.Sleep(20);
        var accepted = server.PostAsync("/v1/images/generations", """{"prompt":"1","steps":1000,"spacing":"linspace"}""");
        await server.PassAsync();
        await server.App.StopAsync();
        using (var answer = await accepted) await ServerFixture.AssertErrorAsync(answer, 503, "draining");
        Assert.That(server.Host.EndedInTime, Is.False);
    }

    [Test]
    public async Task An_application_of_ones_own_takes_the_model_from_its_services()
    {
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Services.AddDiT(model =>
        {
            model.Model = TestFiles.DigitModel;
            model.Backend = "cpu";
        });
        using var application = builder.Build();
        Assert.That(() => application.Services.GetRequiredService<DiTPipeline>(), Throws.InvalidOperationException.With.Message.Contains("loaded"));
        await application.StartAsync();
        await application.Services.GetRequiredService<ModelHost>().Loaded;
        var images = await application.Services.GetRequiredService<DiTPipeline>().GenerateAsync(new GenerationRequest { Labels = [3], Sampler = new() { Steps = 2 } });
        Assert.That(images[0].Pixels, Has.Length.EqualTo(32 * 32));
        await application.StopAsync();
    }
}

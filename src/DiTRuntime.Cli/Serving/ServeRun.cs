using System.CommandLine;
using System.Text.Json.Nodes;
using DiTRuntime.Serving;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace DiTRuntime.Cli.Serving;

/// <summary>One run of <c>dit serve</c>: listens, loads, serves until it is told to end.</summary>
internal sealed class ServeRun(Session session, ParseResult parse, ServeOptions options)
{
    /// <summary>What ending takes beside the requests: connections are closed, memory is given back.</summary>
    private static readonly TimeSpan s_ending = TimeSpan.FromSeconds(10);

    /// <summary>Runs.</summary>
    /// <returns>Ok; a failure where accepted requests had to be given up at the end.</returns>
    /// <exception cref="DiTException">The port is not to be had (exit code 2), or the model cannot be loaded (3, 4, 5).</exception>
    public ExitCode Execute() => ExecuteAsync().GetAwaiter().GetResult();

    private async Task<ExitCode> ExecuteAsync()
    {
        var server = options.Server(parse);
        await using var app = DiTServer.Build(options.Model(parse, session), server);
        session.AskForTime(options.Grace(parse) + s_ending);
        await StartAsync(app, server);
        var url = DiTServer.UrlOf(app);
        session.Note($"listening on {url}");
        if (session.Json) session.Print(new JsonObject { ["url"] = url });

        var host = app.Services.GetRequiredService<ModelHost>();
        var announcement = AnnounceAsync(host, app.Lifetime);
        await app.WaitForShutdownAsync(session.Cancellation);
        await announcement;
        // Whatever the model could not be loaded for is what the run fails of.
        if (host.Loaded.IsFaulted) await host.Loaded;
        if (host.EndedInTime != false) return ExitCode.Ok;
        session.Note($"requests were cancelled: they had not ended within {options.Grace(parse).TotalSeconds} s");
        return ExitCode.Failure;
    }

    private static async Task StartAsync(WebApplication app, ServerOptions server)
    {
        try
        {
            await app.StartAsync();
        }
        catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException)
        {
            throw new UsageException(e is IOException { InnerException: AddressInUseException }
                ? $"--port {server.Port}: something else listens there already; port 0 takes a free one"
                : $"--host {server.Host} --port {server.Port}: cannot listen there: {e.Message}");
        }
    }

    /// <summary>Says that the model is ready; ends the service where it never will be.</summary>
    private async Task AnnounceAsync(ModelHost host, IHostApplicationLifetime lifetime)
    {
        try
        {
            var model = await host.Loaded;
            session.Note($"ready: {model.Id} on {model.Backend}");
        }
        catch (Exception)
        {
            lifetime.StopApplication();
        }
    }
}

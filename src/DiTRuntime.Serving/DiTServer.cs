using System.Net;
using DiTRuntime.Serving.Http;
using DiTRuntime.Serving.KServe;
using DiTRuntime.Serving.OpenApi;
using DiTRuntime.Serving.Telemetry;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace DiTRuntime.Serving;

/// <summary>The service as <c>dit serve</c> runs it: see docs/serving.md.</summary>
public static class DiTServer
{
    private const long MaxBodyBytes = 1 << 20;
    private const int MaxHeaderBytes = 16 << 10, MaxHeaders = 64;

    /// <summary>Answers that are ready get so long to reach their clients after the grace period.</summary>
    private static readonly TimeSpan s_farewell = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan s_idleConnection = TimeSpan.FromSeconds(75);

    /// <summary>Puts the service together; nothing listens and nothing is loaded before it is started. It reads no configuration but what it is given, and handles no signals.</summary>
    /// <param name="model">Says which model, and where it runs.</param>
    /// <param name="options">How it is reached.</param>
    /// <exception cref="UsageException">The address or the port makes no sense.</exception>
    public static WebApplication Build(Action<DiTOptions> model, ServerOptions options)
    {
        var address = AddressOf(options);
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "dit", ContentRootPath = AppContext.BaseDirectory });
        var services = builder.Services;
        services.AddRoutingCore();
        services.AddDiT(model);
        services.AddDiTTelemetry();
        services.AddSingleton(options);
        services.AddSingleton<JobStore>();
        services.AddSingleton<ImageLinks>();
        services.AddSingleton<IHostLifetime, QuietLifetime>();
        services.AddOptions<HostOptions>().Configure<ModelHost>((host, served) => host.ShutdownTimeout = served.Options.Grace + s_farewell);
        AddLogging(builder.Logging);
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel => Configure(kestrel, options, address));

        var app = builder.Build();
        app.UseDiTTelemetry();
        app.UseErrorHandling();
        app.UseRouting();
        if (options.ApiKeys.Count > 0) new ApiKeys(options.ApiKeys).Guard(app);
        app.MapHealth();
        app.MapModels();
        app.MapImages();
        app.MapJobs();
        app.MapKServe();
        app.MapMetrics();
        app.MapOpenApiDocument();
        app.MapPage();
        return app;
    }

    /// <summary>Where a service that was started listens: "http://127.0.0.1:8080".</summary>
    public static string UrlOf(WebApplication app) => app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();

    private static IPEndPoint AddressOf(ServerOptions options)
    {
        if (options.Port is < IPEndPoint.MinPort or > IPEndPoint.MaxPort) throw new UsageException($"--port {options.Port}: expected 0 to {IPEndPoint.MaxPort}");
        if (options.MaxConnections < 1) throw new UsageException($"--max-connections {options.MaxConnections}: expected 1 or more");
        var address = options.Host switch
        {
            "localhost" => IPAddress.Loopback,
            _ when IPAddress.TryParse(options.Host, out var parsed) => parsed,
            _ => throw new UsageException($"--host {options.Host}: expected an IP address (0.0.0.0 for all) or localhost"),
        };
        return new IPEndPoint(address, options.Port);
    }

    private static void Configure(KestrelServerOptions kestrel, ServerOptions options, IPEndPoint address)
    {
        kestrel.AddServerHeader = false;
        var limits = kestrel.Limits;
        limits.MaxConcurrentConnections = options.MaxConnections;
        limits.MaxRequestBodySize = MaxBodyBytes;
        limits.MaxRequestHeadersTotalSize = MaxHeaderBytes;
        limits.MaxRequestHeaderCount = MaxHeaders;
        limits.RequestHeadersTimeout = options.HeaderTimeout;
        limits.KeepAliveTimeout = s_idleConnection;
        var share = new ConnectionShare(options.MaxConnections);
        kestrel.Listen(address, listen =>
        {
            listen.Protocols = HttpProtocols.Http1;
            listen.Use(share.Limit);
        });
    }

    /// <summary>Failures of requests go to standard error with the place where they arose; what clients do wrong goes nowhere, and what ends the service is told by who has started it.</summary>
    private static void AddLogging(ILoggingBuilder logging)
    {
        logging.SetMinimumLevel(LogLevel.Warning);
        logging.AddFilter("Microsoft", LogLevel.Error);
        logging.AddFilter("Microsoft.Extensions.Hosting", LogLevel.None);
        logging.AddFilter(typeof(ModelHost).FullName, LogLevel.None);
        logging.AddSimpleConsole(console => console.SingleLine = true);
        logging.Services.Configure<Microsoft.Extensions.Logging.Console.ConsoleLoggerOptions>(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
    }

    /// <summary>Ends when its caller ends it: signals are the command's.</summary>
    private sealed class QuietLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}

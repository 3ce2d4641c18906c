using System.Globalization;
using DiTRuntime.Models.Scheduling;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace DiTRuntime.Serving.Http;

/// <summary>Turns everything that goes wrong with a request into one answer of the documented shape; nothing of this machine shows in it.</summary>
internal static partial class ErrorHandling
{
    /// <summary>Longest message that a client sees, in characters: words of its own request are repeated in it.</summary>
    private const int LongestMessage = 400;

    private static readonly PathString s_kserve = new("/v2");

    /// <summary>Puts it around everything that follows.</summary>
    public static void UseErrorHandling(this IApplicationBuilder app)
    {
        var logger = app.ApplicationServices.GetRequiredService<ILoggerFactory>().CreateLogger("DiTRuntime.Serving");
        app.Use(next => context => RunAsync(next, context, logger));
    }

    private static async Task RunAsync(RequestDelegate next, HttpContext context, ILogger logger)
    {
        try
        {
            await next(context);
            if (context.Response is { HasStarted: false, StatusCode: >= 400, ContentLength: null, ContentType: null } response) await WriteAsync(context, OfStatus(response.StatusCode, context));
        }
        catch (Exception e) when (context.RequestAborted.IsCancellationRequested || e is ConnectionResetException)
        {
            // Nobody is there to read an answer; the status is for the metrics.
            if (!context.Response.HasStarted) context.Response.StatusCode = StatusCodes.Status499ClientClosedRequest;
        }
        catch (Exception e)
        {
            var error = Describe(e, context);
            if (error.Status == StatusCodes.Status500InternalServerError) LogFailure(logger, e, context.Request.Method, context.GetEndpoint()?.DisplayName);
            if (context.Response.HasStarted) context.Abort();
            else await WriteAsync(context, error);
        }
    }

    private static ApiException Describe(Exception exception, HttpContext context) => exception switch
    {
        ApiException e => e,
        BadHttpRequestException e => OfStatus(e.StatusCode, context),
        UsageException e => OfUsage(e.Message),
        QueueFullException e => new ApiException(429, "queue_full", "the queue is full; try again later") { RetryAfter = e.RetryAfter },
        SchedulerClosedException => Unavailability.Draining,
        OperationCanceledException => Unavailability.Draining,
        _ => Failure.Of(exception),
    };

    /// <summary>What the library refuses: its messages begin with a flag of the command, which is the field's name here.</summary>
    private static ApiException OfUsage(string message)
    {
        var words = message.Split(' ');
        for (var i = 0; i < words.Length; i++)
        {
            var flag = words[i].TrimStart('(');
            if (!flag.StartsWith("--", StringComparison.Ordinal)) continue;
            words[i] = words[i].Replace(flag, flag == "--cfg-scale" ? "guidance_scale" : flag[2..].Replace('-', '_'), StringComparison.Ordinal);
        }

        return ApiException.Impossible(string.Join(' ', words), message.StartsWith("--", StringComparison.Ordinal) ? words[0].TrimEnd(':') : null);
    }

    private static ApiException OfStatus(int status, HttpContext context) => status switch
    {
        401 => new ApiException(401, "invalid_api_key", "a key is needed: Authorization: Bearer KEY"),
        404 => ApiException.NotFound("there is nothing at this address"),
        405 => new ApiException(405, "method_not_allowed", $"this address does not take {context.Request.Method}"),
        408 => new ApiException(408, "timeout", "the request came too slowly"),
        413 => new ApiException(413, "too_large", "the body is too large"),
        415 => new ApiException(415, "unsupported_media_type", "expected a body of content type application/json"),
        431 => new ApiException(431, "headers_too_large", "the headers are too large"),
        _ => new ApiException(status, "bad_request", "the request is not understood"),
    };

    private static async Task WriteAsync(HttpContext context, ApiException error)
    {
        var response = context.Response;
        var message = error.Message.Length <= LongestMessage ? error.Message : error.Message[..LongestMessage] + "…";
        response.StatusCode = error.Status;
        response.Headers.CacheControl = "no-store";
        if (error.RetryAfter is { } wait) response.Headers.RetryAfter = Math.Max(1, (long)Math.Ceiling(wait.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
        if (error.Status == StatusCodes.Status401Unauthorized) response.Headers.WWWAuthenticate = "Bearer";
        if (context.Request.Path.StartsWithSegments(s_kserve)) await response.WriteJsonAsync(new KServeError(message), ServingJson.Default.KServeError);
        else await response.WriteJsonAsync(new ErrorAnswer(new ErrorDetail(message, TypeOf(error.Status), error.Parameter, error.Code)), ServingJson.Default.ErrorAnswer);
    }

    private static string TypeOf(int status) => status switch
    {
        401 => "authentication_error",
        429 => "rate_limit_error",
        >= 500 => "server_error",
        _ => "invalid_request_error",
    };

    [LoggerMessage(LogLevel.Error, "{Method} {Endpoint} failed")]
    private static partial void LogFailure(ILogger logger, Exception exception, string method, string? endpoint);
}

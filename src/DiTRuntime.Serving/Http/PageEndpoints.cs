using System.Buffers.Text;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Primitives;
using Microsoft.Net.Http.Headers;

namespace DiTRuntime.Serving.Http;

/// <summary>The page at <c>/</c> and its files under <c>/page/</c>, held in this assembly.</summary>
internal static class PageEndpoints
{
    private const string Index = "index.html";

    /// <summary>Everything comes from here; pictures may also be previews and finished images that the page itself holds. Nobody frames it.</summary>
    private const string ContentSecurityPolicy =
        "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    private static readonly string[] s_methods = [HttpMethods.Get, HttpMethods.Head];

    /// <summary>Maps the page; it asks for no key.</summary>
    public static void MapPage(this IEndpointRouteBuilder endpoints)
    {
        const string folder = "DiTRuntime.Serving.Page.";
        var assembly = typeof(PageEndpoints).Assembly;
        foreach (var resource in assembly.GetManifestResourceNames().Where(name => name.StartsWith(folder, StringComparison.Ordinal)))
        {
            using var stream = assembly.GetManifestResourceStream(resource)!;
            var content = new byte[stream.Length];
            stream.ReadExactly(content);
            var name = resource[folder.Length..];
            var file = new PageFile(content, TypeOf(name), name == Index);
            endpoints.MapMethods(name == Index ? "/" : $"/page/{name}", s_methods, file.WriteAsync).WithDisplayName("page").AllowAnonymous();
        }
    }

    private static string TypeOf(string name) => Path.GetExtension(name) switch
    {
        ".html" => "text/html; charset=utf-8",
        ".css" => "text/css; charset=utf-8",
        ".js" => "text/javascript; charset=utf-8",
        ".svg" => "image/svg+xml",
        var extension => throw new InvalidOperationException($"{name}: files of the page do not end in '{extension}'"),
    };

    private sealed class PageFile(byte[] content, string type, bool isDocument)
    {
        private readonly EntityTagHeaderValue _tag = new($"\"{Base64Url.EncodeToString(SHA256.HashData(content).AsSpan(0, 12))}\"");

        public async Task WriteAsync(HttpContext context)
        {
            var response = context.Response;
            var headers = response.Headers;
            headers.ETag = _tag.ToString();
            // Names stay when contents change with a new version, so a browser asks whether what it has is the present one.
            headers.CacheControl = "no-cache";
            headers.XContentTypeOptions = "nosniff";
            headers["Referrer-Policy"] = "no-referrer";
            headers["Cross-Origin-Resource-Policy"] = "same-origin";
            if (isDocument) headers.ContentSecurityPolicy = ContentSecurityPolicy;
            if (IsKnown(context.Request.Headers.IfNoneMatch))
            {
                response.StatusCode = StatusCodes.Status304NotModified;
                return;
            }

            response.ContentType = type;
            response.ContentLength = content.Length;
            if (!HttpMethods.IsHead(context.Request.Method)) await response.Body.WriteAsync(content, context.RequestAborted);
        }

        private bool IsKnown(StringValues tags) =>
            EntityTagHeaderValue.TryParseList([.. tags.OfType<string>()], out var known) && known.Any(tag => tag.Equals(EntityTagHeaderValue.Any) || tag.Compare(_tag, useStrongComparison: false));
    }
}

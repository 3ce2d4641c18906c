using DiTRuntime.Serving.Http;
using Microsoft.AspNetCore.Http;

namespace DiTRuntime.Serving.KServe;

/// <summary>Reads the body of a request into memory, as far as there is any.</summary>
internal sealed class InferBody
{
    /// <summary>The largest body, in bytes.</summary>
    public const int MostBytes = 32 << 20;

    /// <summary>Bodies up to this many bytes are not counted: those of the other endpoints are not, either.</summary>
    private const int SmallBytes = 1 << 20;

    private const long MostBytesAtOnce = 256L << 20;

    private readonly BodyBudget _budget = new(MostBytesAtOnce);

    /// <summary>Reads a body and passes it on.</summary>
    /// <typeparam name="T">What is made of it.</typeparam>
    /// <param name="context">The request.</param>
    /// <param name="parse">Makes something of the body that holds no reference to it.</param>
    /// <exception cref="ApiException">Too many large bodies are being read: 429.</exception>
    /// <exception cref="BadHttpRequestException">It is larger than it may be, or does not come.</exception>
    public async Task<T> ReadAsync<T>(HttpContext context, Func<ReadOnlyMemory<byte>, T> parse)
    {
        var declared = context.Request.ContentLength ?? MostBytes;
        var taken = declared > SmallBytes ? Math.Min(declared, MostBytes) : 0;
        if (!_budget.TryTake(taken)) throw new ApiException(429, "too_many_bodies", "too many large requests at once") { RetryAfter = TimeSpan.FromSeconds(1) };
        try
        {
            using var body = new MemoryStream();
            await context.Request.Body.CopyToAsync(body, context.RequestAborted);
            return parse(body.GetBuffer().AsMemory(0, (int)body.Length));
        }
        catch (IOException e) when (e is not BadHttpRequestException)
        {
            throw ApiException.BrokenBody();
        }
        finally
        {
            _budget.GiveBack(taken);
        }
    }
}

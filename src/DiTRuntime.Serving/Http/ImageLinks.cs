using Microsoft.Extensions.Caching.Memory;

namespace DiTRuntime.Serving.Http;

/// <summary>Files of images by the query of their link, for a while and within bounds: what is not here is drawn again.</summary>
internal sealed class ImageLinks : IDisposable
{
    private const long MaxBytes = 64 << 20;

    private static readonly TimeSpan s_lifetime = TimeSpan.FromMinutes(10);

    private readonly MemoryCache _files = new(new MemoryCacheOptions { SizeLimit = MaxBytes });

    /// <summary>Keeps a file.</summary>
    public void Add(string query, byte[] file) =>
        _files.Set(query, file, new MemoryCacheEntryOptions { Size = file.Length, SlidingExpiration = s_lifetime });

    /// <summary>The file of a link, or null.</summary>
    public byte[]? Find(string query) => _files.Get<byte[]>(query);

    /// <inheritdoc/>
    public void Dispose() => _files.Dispose();
}

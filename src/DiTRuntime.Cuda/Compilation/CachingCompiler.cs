using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Compilation;

/// <summary>A compiler that looks into a cache first, and leaves there what it made.</summary>
/// <param name="inner">Compiles what the cache does not hold.</param>
/// <param name="cache">Keeps images from one process to the next.</param>
/// <param name="sources">What <paramref name="inner"/> compiles: path below kernels/ → text. <see cref="KernelSources.All"/> unless given.</param>
public sealed class CachingCompiler(IKernelCompiler inner, KernelCache cache, IReadOnlyDictionary<string, string>? sources = null) : IKernelCompiler
{
    private readonly IReadOnlyDictionary<string, string> _sources = sources ?? KernelSources.All;
    private int _compiled;

    /// <summary>How many kernels were not in the cache.</summary>
    public int CompiledCount => _compiled;

    /// <inheritdoc/>
    public string Name => inner.Name;

    /// <inheritdoc/>
    public string Identity => inner.Identity;

    /// <inheritdoc/>
    public KernelImage Compile(KernelSpec spec)
    {
        var key = KernelKey.Of(spec.Text, inner.Identity, _sources);
        if (cache.Find(key) is { } image) return image;
        image = inner.Compile(spec);
        Interlocked.Increment(ref _compiled);
        cache.Store(key, image);
        return image;
    }
}

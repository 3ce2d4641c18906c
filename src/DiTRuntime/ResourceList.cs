namespace DiTRuntime;

/// <summary>What an object owns, given back in reverse order; also where a constructor breaks off half way.</summary>
internal sealed class ResourceList : IDisposable
{
    private readonly List<IDisposable> _resources = [];

    /// <summary>Takes a resource over.</summary>
    public T Add<T>(T resource)
        where T : IDisposable
    {
        _resources.Add(resource);
        return resource;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        for (var i = _resources.Count - 1; i >= 0; i--) _resources[i].Dispose();
        _resources.Clear();
    }
}

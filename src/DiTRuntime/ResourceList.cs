namespace DiTRuntime;

/// <summary>What an object owns, given back in reverse order; also where a constructor breaks off half way.</summary>
internal sealed class ResourceList : IDisposable
{
    private readonly List<IDisposable> _resources = [];

    /// <summary>Opens something over resources that it takes over; where that breaks off, they are given back.</summary>
    public static T Open<T>(Func<ResourceList, T> open)
    {
        var owned = new ResourceList();
        try
        {
            return open(owned);
        }
        catch
        {
            owned.Dispose();
            throw;
        }
    }

    /// <summary>Takes a resource over.</summary>
    public T Add<T>(T resource)
        where T : IDisposable
    {
        _resources.Add(resource);
        return resource;
    }

    /// <summary>Gives one back early.</summary>
    public void Remove(IDisposable resource)
    {
        if (_resources.Remove(resource)) resource.Dispose();
    }

    /// <summary>Lets go of everything without giving it back: others own it now.</summary>
    public void Release() => _resources.Clear();

    /// <inheritdoc/>
    public void Dispose()
    {
        for (var i = _resources.Count - 1; i >= 0; i--) _resources[i].Dispose();
        _resources.Clear();
    }
}

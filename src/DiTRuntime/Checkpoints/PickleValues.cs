namespace DiTRuntime.Checkpoints;

/// <summary>A class or function that a pickle names. It is a name and nothing else.</summary>
internal sealed record PickleGlobal(string Module, string Name)
{
    /// <inheritdoc/>
    public override string ToString() => TensorRules.Printable($"{Module}.{Name}");
}

/// <summary>Something a pickle builds that no checkpoint needs: kept as one inert token.</summary>
internal sealed class PickleOpaque
{
    private PickleOpaque()
    {
    }

    public static PickleOpaque Instance { get; } = new();
}

/// <summary>A dict or OrderedDict: pairs in the order they were set; a key set twice keeps both.</summary>
internal sealed class PickleDictionary
{
    private List<KeyValuePair<object?, object?>>? _items;

    public IReadOnlyList<KeyValuePair<object?, object?>> Items => _items ?? [];

    public void Add(object? key, object? value) => (_items ??= []).Add(new(key, value));

    /// <summary>The value of a text key, or null.</summary>
    public object? this[string key] => Items.LastOrDefault(item => item.Key is string text && text == key).Value;
}

/// <summary>A storage by reference: the zip entry <c>data/Key</c>, <c>ElementCount</c> elements of a type.</summary>
/// <param name="TypeName">The class's name, "FloatStorage".</param>
/// <param name="Key">Name of the entry.</param>
/// <param name="ElementCount">Elements in the storage.</param>
internal sealed record PickleStorage(string TypeName, string Key, long ElementCount);

/// <summary>A tensor: a strided view of a storage. Nothing about it has been checked yet.</summary>
internal sealed record PickleTensor(PickleStorage Storage, long Offset, long[] Shape, long[] Strides);

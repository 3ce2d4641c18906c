namespace DiTRuntime.Checkpoints;

/// <summary>The spelling of element types in safetensors; the enumeration's own names, but for BOOL.</summary>
internal static class SafetensorsTypes
{
    private static readonly Dictionary<string, ElementType> s_types =
        Enum.GetValues<ElementType>().ToDictionary(Name, type => type, StringComparer.Ordinal);

    /// <summary>Every type that is read, for messages.</summary>
    public static string Supported { get; } = string.Join(", ", s_types.Keys);

    /// <summary>The name in a header.</summary>
    public static string Name(ElementType type) => type == ElementType.Bool ? "BOOL" : type.ToString();

    /// <summary>The type of a name, or null where it is unknown or not supported (F8, F4, C64 and their like).</summary>
    public static ElementType? TryParse(string name) => s_types.TryGetValue(name, out var type) ? type : null;
}

namespace DiTRuntime.Quantization;

/// <summary>How a row falls into groups: each of the given size, the last one shorter where the row is no multiple.</summary>
/// <param name="RowLength">K, values in a row.</param>
/// <param name="RequestedSize">Values in a group; 0 for the whole row.</param>
public readonly record struct GroupGrid(int RowLength, int RequestedSize)
{
    /// <summary>Values in a group, but for a shorter last one.</summary>
    public int Size => RequestedSize == 0 ? RowLength : Math.Min(RequestedSize, RowLength);

    /// <summary>G: groups in a row.</summary>
    public int Count => (RowLength + Size - 1) / Size;

    /// <summary>First value of a group.</summary>
    public int Start(int group) => group * Size;

    /// <summary>Values of a group.</summary>
    public int Length(int group) => Math.Min(Size, RowLength - Start(group));
}

using System.Globalization;
using System.Text;

namespace DiTRuntime.Checkpoints;

/// <summary>
/// What every format demands of a tensor before it is believed: bounds that keep the memory for headers proportional to the file,
/// and make the byte count of one tensor an int.
/// </summary>
internal static class TensorRules
{
    /// <summary>A DiT-XL/2 has 538 tensors at most; the bound keeps a header of many empty tensors from eating the memory.</summary>
    public const int MaxTensors = 65_536;

    /// <summary>longest name of a tensor or metadata key, in UTF-16 units; the published names stay under 80.</summary>
    public const int MaxNameLength = 512;

    /// <summary>Most dimensions of a tensor.</summary>
    public const int MaxRank = 8;

    /// <summary>All metadata of a file together, in bytes.</summary>
    public const int MaxMetadataBytes = 8 << 20;

    /// <exception cref="InvalidFileException">The name is empty, too long, or would garble a terminal.</exception>
    public static void CheckName(string path, string name)
    {
        if (name.Length is 0 or > MaxNameLength)
            throw new InvalidFileException(path, $"a tensor's name has {name.Length} characters; 1 to {MaxNameLength} were expected");
        if (!IsPrintable(name)) throw new InvalidFileException(path, $"the tensor name {Printable(name)} holds control characters");
    }

    /// <exception cref="InvalidFileException">Too many tensors.</exception>
    public static void CheckTensorCount(string path, ulong count)
    {
        if (count > MaxTensors) throw new InvalidFileException(path, $"the file lists {count} tensors; at most {MaxTensors} are read");
    }

    /// <summary>The shape as ints, its elements counted.</summary>
    /// <returns>The shape and the tensor's size in bytes, which fits an int.</returns>
    /// <exception cref="InvalidFileException">Too many dimensions or elements.</exception>
    public static (int[] Shape, int ByteCount) CheckShape(string path, string name, ElementType type, ReadOnlySpan<long> shape)
    {
        if (shape.Length > MaxRank)
            throw new InvalidFileException(path, $"tensor {name} has {shape.Length} dimensions; at most {MaxRank} are read");
        var extents = new int[shape.Length];
        long byteCount = type.ByteSize();
        for (var i = 0; i < shape.Length; i++)
        {
            if (shape[i] < 0) throw new InvalidFileException(path, $"tensor {name} has a negative dimension in {Text(shape)}");
            if (shape[i] > int.MaxValue || (shape[i] != 0 && byteCount > int.MaxValue / shape[i]))
                throw new InvalidFileException(path, $"tensor {name} {type} {Text(shape)} overflows: a tensor has less than 2 GiB");
            byteCount *= Math.Max(shape[i], 1);
            extents[i] = (int)shape[i];
        }

        return (extents, shape.Contains(0) ? 0 : (int)byteCount);
    }

    /// <summary>Text from a file as it may stand in a message: short, on one line, without control characters.</summary>
    public static string Printable(string text, int longest = 80)
    {
        var clean = new StringBuilder(longest);
        foreach (var c in text.AsSpan(0, Math.Min(text.Length, longest))) clean.Append(IsPrintable(c) ? c : '?');
        return text.Length > longest ? clean.Append('…').ToString() : clean.ToString();
    }

    /// <summary>A shape as people write it: <c>[1152,4,2,2]</c>.</summary>
    public static string Text<T>(ReadOnlySpan<T> shape) => "[" + string.Join(",", shape.ToArray()) + "]";

    private static bool IsPrintable(string text) => text.AsSpan().IndexOfAnyExceptInRange(' ', '~') < 0 || text.All(IsPrintable);

    private static bool IsPrintable(char c) => char.GetUnicodeCategory(c)
        is not (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
            or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned);
}

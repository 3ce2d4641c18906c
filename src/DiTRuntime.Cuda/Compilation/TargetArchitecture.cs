using System.Globalization;

namespace DiTRuntime.Cuda.Compilation;

/// <summary>The processor a kernel is compiled for: a compute capability, or one with the instructions that later ones do not have (90a).</summary>
/// <param name="Number">Compute capability as one number: 80, 86, 87, 89, 90.</param>
/// <param name="IsSpecific">Whether the code runs on this very architecture only ("sm_90a").</param>
public readonly record struct TargetArchitecture(int Number, bool IsSpecific = false)
{
    /// <summary>The architectures every kernel compiles for; also what runs on later ones of the same generation.</summary>
    public static IReadOnlyList<TargetArchitecture> Portable { get; } = [new(80), new(86), new(87), new(89), new(90)];

    /// <summary>As compilers spell it: "sm_87", "sm_90a".</summary>
    public string Name => string.Create(CultureInfo.InvariantCulture, $"sm_{Number}{(IsSpecific ? "a" : "")}");

    /// <summary>Reads "sm_87", "87" or "90a".</summary>
    /// <exception cref="UsageException">It is none of these.</exception>
    public static TargetArchitecture Parse(string text)
    {
        var digits = text.StartsWith("sm_", StringComparison.Ordinal) ? text.AsSpan(3) : text.AsSpan();
        var specific = digits.EndsWith("a", StringComparison.Ordinal);
        if (specific) digits = digits[..^1];
        return int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number is > 9 and < 1000
            ? new TargetArchitecture(number, specific)
            : throw new UsageException($"'{text}' is no GPU architecture: expected sm_80, sm_87 or sm_90a, say");
    }

    /// <inheritdoc/>
    public override string ToString() => Name;
}

using System.Globalization;
using System.Text.RegularExpressions;

namespace DiTRuntime.Cuda.Compilation;

/// <summary>What the assembler says a kernel needs, read from the compiler's log (<c>--ptxas-options=-v</c>).</summary>
/// <param name="Registers">Registers of a thread.</param>
/// <param name="SharedBytes">Static shared memory of a block. The project's kernels take theirs at launch, so 0.</param>
/// <param name="StackBytes">Local memory of a thread: arrays indexed at run time, and spills.</param>
/// <param name="SpillStoreBytes">Written to local memory because registers did not suffice.</param>
/// <param name="SpillLoadBytes">Read back.</param>
/// <param name="Warnings">The lines that warn, of the front end as of the assembler.</param>
public sealed partial record CompilationReport(
    int Registers, int SharedBytes, int StackBytes, int SpillStoreBytes, int SpillLoadBytes, IReadOnlyList<string> Warnings)
{
    /// <summary>Whether registers did not suffice.</summary>
    public bool Spills => SpillStoreBytes + SpillLoadBytes > 0;

    /// <summary>Reads a log.</summary>
    /// <returns>Null where the log speaks of no kernel: that of a host compiler.</returns>
    public static CompilationReport? Parse(string log)
    {
        var used = UsedPattern().Matches(log);
        if (used.Count == 0) return null;
        int stack = 0, stores = 0, loads = 0;
        // A function that was not inlined has lines of its own; what it spills counts like the kernel's own.
        foreach (Match frame in FramePattern().Matches(log))
        {
            stack = Math.Max(stack, Number(frame, 1));
            stores += Number(frame, 2);
            loads += Number(frame, 3);
        }

        var shared = SharedPattern().Matches(log).Select(match => Number(match, 1)).DefaultIfEmpty().Max();
        return new CompilationReport(used.Max(match => Number(match, 1)), shared, stack, stores, loads, WarningsIn(log));
    }

    /// <summary>
    /// The lines of a log that warn. C7510 and C7514 say that wgmma instructions were serialised; some versions call that information.
    /// </summary>
    public static IReadOnlyList<string> WarningsIn(string log) => [.. log.Split('\n').Where(line => WarningPattern().IsMatch(line)).Select(line => line.Trim())];

    private static int Number(Match match, int group) => int.Parse(match.Groups[group].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"Used (\d+) registers")]
    private static partial Regex UsedPattern();

    [GeneratedRegex(@"(\d+) bytes smem")]
    private static partial Regex SharedPattern();

    [GeneratedRegex(@"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")]
    private static partial Regex FramePattern();

    [GeneratedRegex(@"\bwarning\b|\bC75(10|14)\b", RegexOptions.IgnoreCase)]
    private static partial Regex WarningPattern();
}

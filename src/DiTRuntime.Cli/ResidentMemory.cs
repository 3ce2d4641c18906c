using System.Globalization;

namespace DiTRuntime.Cli;

/// <summary>What the operating system says about this process's memory.</summary>
internal static class ResidentMemory
{
    private const string PeakField = "VmHWM:";
    private const string Status = "/proc/self/status";

    /// <summary>The most bytes that were resident at once; null where the system does not tell.</summary>
    public static long? PeakBytes()
    {
        if (!File.Exists(Status)) return null;
        var line = File.ReadLines(Status).FirstOrDefault(l => l.StartsWith(PeakField, StringComparison.Ordinal));
        var kibibytes = line?[PeakField.Length..].Replace("kB", "", StringComparison.Ordinal).Trim();
        return long.TryParse(kibibytes, NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value << 10 : null;
    }
}

namespace DiTRuntime.Tests.Deploy;

/// <summary>Programs of the machine.</summary>
internal static class Programs
{
    /// <summary>Whether a program is on the PATH.</summary>
    public static bool IsThere(string name) =>
        (Environment.GetEnvironmentVariable("PATH") ?? string.Empty).Split(Path.PathSeparator).Any(folder => folder.Length > 0 && File.Exists(Path.Combine(folder, name)));
}

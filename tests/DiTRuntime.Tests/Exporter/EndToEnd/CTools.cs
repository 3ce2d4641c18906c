using System.ComponentModel;
using System.Diagnostics;
using DiTRuntime.Tests.Cuda;

namespace DiTRuntime.Tests.Exporter.EndToEnd;

/// <summary>Compilers and what goes with them, as tools/fetch-c-tools.sh installs them. A test that lacks one is skipped; in CI it fails.</summary>
internal static class CTools
{
    /// <summary>Where the cross compiler's C library lies.</summary>
    public const string ArmRoot = "/usr/aarch64-linux-gnu";

    /// <summary>Skips the test unless a program is on the PATH.</summary>
    /// <param name="programs">Their names.</param>
    public static void Need(params string[] programs)
    {
        if (OperatingSystem.IsWindows()) throw new IgnoreException("exports are built by gcc or clang, on Linux and macOS");
        foreach (var program in programs)
            if (!IsThere(program)) throw Missing($"{program} is not on the PATH; tools/fetch-c-tools.sh installs it");
    }

    /// <summary>What ends a test that cannot run: a failure in CI, else a skip.</summary>
    public static Exception Missing(string problem) =>
        Environment.GetEnvironmentVariable("CI") == "true" ? new AssertionException($"CI must have this: {problem}") : new IgnoreException(problem);

    /// <summary>Runs a program that must succeed.</summary>
    /// <returns>All it wrote.</returns>
    public static string Succeed(string program, params string[] arguments)
    {
        var (code, text) = HostC.Run(program, arguments);
        Assert.That(code, Is.Zero, $"{program} {string.Join(' ', arguments)}\n{text}");
        return text;
    }

    /// <summary>Runs a program with variables of its own.</summary>
    /// <returns>Its exit code, and all it wrote.</returns>
    public static (int Code, string Text) Run(IReadOnlyDictionary<string, string> environment, string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var (name, value) in environment) start.Environment[name] = value;
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync();
        var text = process.StandardOutput.ReadToEnd() + error.Result;
        process.WaitForExit();
        return (process.ExitCode, text);
    }

    private static bool IsThere(string program)
    {
        try
        {
            HostC.Run(program, "--version");
            return true;
        }
        catch (Win32Exception)
        {
            return false;
        }
    }
}

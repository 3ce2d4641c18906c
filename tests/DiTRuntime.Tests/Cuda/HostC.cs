using System.ComponentModel;
using System.Diagnostics;

namespace DiTRuntime.Tests.Cuda;

/// <summary>The host's C compiler, for tests that build a small program or library; they are skipped where there is none.</summary>
internal static class HostC
{
    private static readonly Lazy<string?> s_compiler = new(Find);

    /// <summary>Compiles one C11 file; every warning is an error.</summary>
    /// <param name="source">The file.</param>
    /// <param name="output">What to write.</param>
    /// <param name="options">More options: -shared, -D, -I.</param>
    public static void Compile(string source, string output, params string[] options)
    {
        if (OperatingSystem.IsWindows()) Assert.Ignore("the test builds a library with the host's C compiler, on Linux and macOS only");
        if (s_compiler.Value is not { } compiler)
        {
            Assert.Ignore("no C compiler (cc, gcc or clang) on the PATH");
            return;
        }

        var (code, text) = Run(compiler, ["-std=gnu11", "-O1", "-fPIC", "-Wall", "-Wextra", "-Werror", .. options, "-o", output, source]);
        Assert.That(code, Is.Zero, text);
    }

    /// <summary>Runs a program.</summary>
    /// <returns>Its exit code, and all it wrote.</returns>
    public static (int Code, string Text) Run(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var error = process.StandardError.ReadToEndAsync();
        var text = process.StandardOutput.ReadToEnd() + error.Result;
        process.WaitForExit();
        return (process.ExitCode, text);
    }

    private static string? Find()
    {
        foreach (var name in new[] { "cc", "gcc", "clang" })
        {
            try
            {
                if (Run(name, "--version").Code == 0) return name;
            }
            catch (Win32Exception)
            {
                // Not on the PATH.
            }
        }

        return null;
    }
}

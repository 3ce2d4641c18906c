using System.Diagnostics;
using DiTRuntime.Cli;

namespace DiTRuntime.Tests.Cli;

/// <summary>What one run of the command left.</summary>
internal sealed record CliResult(int Code, string Out, string Error)
{
    public string[] ErrorLines => Error.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    public string[] OutLines => Out.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>The run did what it was asked to.</summary>
    public CliResult Succeeded()
    {
        Assert.That(Code, Is.Zero, Error);
        return this;
    }

    /// <summary>The run failed with a code and one line that names all of some words.</summary>
    public CliResult Failed(ExitCode code, params string[] words)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Code, Is.EqualTo((int)code), Error);
            Assert.That(ErrorLines, Has.Length.EqualTo(1), Error);
            Assert.That(Error, Does.StartWith("dit: "));
            foreach (var word in words) Assert.That(Error, Does.Contain(word));
            Assert.That(Out, Is.Empty);
        }

        return this;
    }
}

/// <summary>Runs the command in this process, or as a process of its own.</summary>
internal static class CliRunner
{
    /// <summary>The command's program, as a user's shell would run it.</summary>
    public static string Program { get; } = Path.Combine(AppContext.BaseDirectory, "dit.dll");

    public static CliResult Run(params string[] arguments)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        var code = CliApplication.Run(arguments, new CliConsole(output, error, ErrorIsTerminal: false), CancellationToken.None);
        return new CliResult(code, output.ToString(), error.ToString());
    }

    public static CliResult RunProcess(params string[] arguments)
    {
        using var process = Start("dotnet", [Program, .. arguments]);
        return Finish(process);
    }

    public static Process Start(string file, IReadOnlyList<string> arguments)
    {
        var start = new ProcessStartInfo(file, arguments) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        var process = Process.Start(start)!;
        process.StandardInput.Close();
        return process;
    }

    public static CliResult Finish(Process process)
    {
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        if (!process.WaitForExit(TimeSpan.FromMinutes(1)))
        {
            process.Kill();
            Assert.Fail("the process did not end within a minute");
        }

        return new CliResult(process.ExitCode, output.Result, error.Result);
    }
}

using System.CommandLine;
using DiTRuntime.Cli.Serving;

namespace DiTRuntime.Cli.Commands;

/// <summary><c>dit serve</c>: a model as an HTTP service.</summary>
internal static class ServeCommand
{
    /// <summary>Makes the command.</summary>
    /// <param name="open">Reads the common options.</param>
    public static Command Create(Func<ParseResult, Session> open)
    {
        var options = new ServeOptions();
        var command = new Command("serve", "Answer HTTP requests for images; Ctrl-C or SIGTERM finishes what was accepted and ends");
        options.AddTo(command);
        command.SetAction(parse => (int)new ServeRun(open(parse), parse, options).Execute());
        return command;
    }
}

using System.CommandLine;
using DiTRuntime.Cli.Sharding;

namespace DiTRuntime.Cli.Commands;

/// <summary><c>dit merge</c>: the parts of a sharded run to one sample file.</summary>
internal static class MergeCommand
{
    /// <summary>Makes the command.</summary>
    /// <param name="open">Reads the common options.</param>
    public static Command Create(Func<ParseResult, Session> open)
    {
        var parts = new Argument<string[]>("PART") { Description = "Files that dit generate --shard i/n --npz wrote; also folders, or patterns in quotes", Arity = ArgumentArity.OneOrMore };
        var output = Flags.OptionalText("--out", "The sample file to write", "FILE", "-o");
        output.Required = true;
        var command = new Command("merge", "Put the parts of a sharded run together") { parts, output };
        command.SetAction(parse =>
        {
            new MergeRun(parse.GetRequiredValue(parts), parse.GetRequiredValue(output)!, open(parse)).Execute();
            return (int)ExitCode.Ok;
        });
        return command;
    }
}

using System.CommandLine;
using DiTRuntime.Cli.Inspection;
using DiTRuntime.Imaging;

namespace DiTRuntime.Cli.Commands;

/// <summary><c>dit inspect</c>: what a model file holds, or how an image was made.</summary>
internal static class InspectCommand
{
    /// <summary>Makes the command.</summary>
    /// <param name="open">Reads the common options.</param>
    public static Command Create(Func<ParseResult, Session> open)
    {
        var file = new Argument<string>("FILE") { Description = "A checkpoint of any supported kind, a diffusers folder, or a PNG file" };
        var heads = Flags.OptionalWhole("--heads", "Attention heads, where the checkpoint does not say");
        var command = new Command("inspect", "Tell what a model file holds, or how an image was made") { file, heads };
        command.SetAction(parse =>
        {
            var session = open(parse);
            var path = parse.GetRequiredValue(file);
            if (PngReader.IsPng(path)) ImageReport.Print(path, session);
            else ModelReport.Print(path, parse.GetValue(heads), session);
            return (int)ExitCode.Ok;
        });
        return command;
    }
}

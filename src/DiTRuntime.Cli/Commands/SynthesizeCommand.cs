using System.CommandLine;
using System.Text.Json.Nodes;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;

namespace DiTRuntime.Cli.Commands;

/// <summary><c>dit synthesize</c>: random weights of any published configuration.</summary>
internal static class SynthesizeCommand
{
    private const int DefaultImageSize = 256;
    private const int DefaultClassCount = 1000;

    /// <summary>Makes the command.</summary>
    /// <param name="open">Reads the common options.</param>
    public static Command Create(Func<ParseResult, Session> open)
    {
        var model = Flags.OptionalText("--model", "Configuration: DiT-XL/2, DiT-B/4, ...", "NAME", "-m");
        var size = Flags.Whole("--image-size", "Side of the images in pixels", DefaultImageSize);
        var classes = Flags.Whole("--num-classes", "Classes, without the null class", DefaultClassCount);
        var seed = Flags.Long("--seed", "Seed of the weights", 0);
        var type = Flags.Choice("--dtype", "Element type of the weights", "f32", "f16", "bf16");
        var output = Flags.OptionalText("--out", "Where to write the safetensors file", "FILE", "-o");
        model.Required = output.Required = true;
        var command = new Command("synthesize", "Write random weights, to measure size and speed without a checkpoint") { model, size, classes, seed, type, output };
        command.SetAction(parse =>
        {
            var session = open(parse);
            var config = DiTConfigs.Parse(parse.GetRequiredValue(model)!, ModelSource.InputSize(parse.GetValue(size)), parse.GetValue(classes));
            var element = parse.GetRequiredValue(type) switch
            {
                "f16" => ElementType.F16,
                "bf16" => ElementType.BF16,
                _ => ElementType.F32,
            };
            Run(session, config, unchecked((ulong)parse.GetValue(seed)), element, parse.GetRequiredValue(output)!);
            return (int)ExitCode.Ok;
        });
        return command;
    }

    private static void Run(Session session, DiTConfig config, ulong seed, ElementType type, string output)
    {
        OutputProbe.Check(output);
        session.WithProgress(display => SyntheticWeights.Write(
            config, seed, type, output, new DirectProgress<double>(done => display.Report("writing", "%", 100 * done, 100)), session.Cancellation));
        if (!session.Json)
        {
            session.Print(output);
            return;
        }

        session.Print(new JsonObject
        {
            ["file"] = output,
            ["model"] = DiTConfigs.NameOf(config),
            ["bytes"] = new FileInfo(output).Length,
            ["seed"] = seed,
            ["dtype"] = type.ToString(),
        });
    }
}

using System.CommandLine;
using DiTRuntime.Cli.Exporting;
using DiTRuntime.Exporter;
using DiTRuntime.Models;

namespace DiTRuntime.Cli.Commands;

/// <summary><c>dit export</c>: a model as a folder that builds and runs without .NET.</summary>
internal static class ExportCommand
{
    private const int DefaultSteps = 50;
    private const int DefaultThreads = 4;

    /// <summary>Makes the command.</summary>
    /// <param name="open">Reads the common options.</param>
    public static Command Create(Func<ParseResult, Session> open)
    {
        var model = Flags.OptionalText("--model", "Checkpoint file or diffusers folder; the built-in digits when absent", "PATH", "-m");
        var vae = Flags.OptionalText("--vae", "Decoder file or folder; needed by models that work on latents", "PATH");
        var target = Flags.Choice("--target", "What the export runs on: any processor, or an NVIDIA GPU", "c", "cuda");
        var arch = Flags.OptionalText("--arch", "GPU architectures of --target cuda, separated by commas: sm_87,sm_90a", "LIST");
        var output = Flags.OptionalText("--out", "The folder to make", "DIR", "-o");
        output.Required = true;
        var force = Flags.Switch("--force", "Replace an earlier export");
        var steps = Flags.Whole("--steps", "Sampling steps: the exported program's default, and the golden images'", DefaultSteps);
        var sampler = Flags.Text("--sampler", "Sampler, likewise", "ddim|ddpm", "ddim");
        var spacing = Flags.OptionalText("--spacing", "leading (default of ddim), linspace (of ddpm) or trailing", "NAME");
        var scale = Flags.Number("--cfg-scale", "Guidance scale, likewise; 1 turns guidance off", 4);
        var seed = Flags.Long("--seed", "Seed of the golden images", 0);
        var compat = Flags.Choice("--compat", "Which published implementation to agree with", "official", "diffusers");
        var heads = Flags.OptionalWhole("--heads", "Attention heads, where the checkpoint does not say");
        var size = Flags.OptionalWhole("--image-size", "Side of the images in pixels, where it is not the model's own");
        var batch = Flags.Whole("--batch", "Images sampled together, at most: memory is planned for them", 1);
        var maxMemory = Flags.OptionalText("--max-memory", "The most memory beside the mapped weights, in MB or as 300MB, 2GB: tiles and tables are fitted to it, or the export is refused", "SIZE");

        var command = new Command("export", "Write a model as a folder that builds with a C compiler and runs without .NET")
        {
            model, vae, target, arch, output, force, steps, sampler, spacing, scale, seed, compat, heads, size, batch, maxMemory,
        };
        command.SetAction(parse =>
        {
            var session = open(parse);
            var settings = new ExportSettings
            {
                Target = parse.GetRequiredValue(target) == "cuda" ? ExportTarget.Cuda : ExportTarget.C,
                Architectures = parse.GetValue(arch)?.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) ?? [],
                OutputFolder = parse.GetRequiredValue(output)!,
                Force = parse.GetValue(force),
                Compatibility = Flags.Compatibility(parse, compat),
                Steps = parse.GetValue(steps),
                Sampler = parse.GetRequiredValue(sampler),
                Spacing = parse.GetValue(spacing),
                GuidanceScale = parse.GetValue(scale),
                Seed = Flags.Seed(parse.GetValue(seed)),
                Batch = parse.GetValue(batch),
                Threads = session.ThreadCount == 0 ? DefaultThreads : session.ThreadCount,
                MaxMemoryBytes = parse.GetValue(maxMemory) is { } text ? ByteSize.Parse("--max-memory", text) : null,
            };
            new ExportModelRun(session, settings).Execute(parse.GetValue(model) ?? ModelSource.BuiltIn, parse.GetValue(vae), parse.GetValue(heads), parse.GetValue(size));
            return (int)ExitCode.Ok;
        });
        return command;
    }
}

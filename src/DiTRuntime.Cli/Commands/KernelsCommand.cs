using System.CommandLine;
using DiTRuntime.Backends;
using DiTRuntime.Cli.Compilation;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Decoding;
using DiTRuntime.Models;

namespace DiTRuntime.Cli.Commands;

/// <summary>Says which kernels a model and its decoder need on GPUs of an architecture.</summary>
internal delegate IReadOnlyList<KernelSpec> KernelPlanner(Func<DiTWeights> open, TargetArchitecture target, Func<IDiTBackend, IImageDecoder>? openDecoder);

/// <summary><c>dit kernels</c>: compile a model's GPU kernels ahead of time, and see what they need. No GPU is used.</summary>
internal static class KernelsCommand
{
    /// <summary>Makes the command.</summary>
    /// <param name="open">Reads the common options.</param>
    /// <param name="plan">The kernels a model needs on GPUs of an architecture.</param>
    public static Command Create(Func<ParseResult, Session> open, KernelPlanner plan) =>
        new("kernels", "Compile a model's GPU kernels ahead of time, and list them") { CreateBuild(open, plan), CreateList(open, plan) };

    private static Command CreateBuild(Func<ParseResult, Session> open, KernelPlanner plan)
    {
        var architectures = Architectures("GPU architectures to compile for");
        architectures.DefaultValueFactory = _ => string.Join(',', TargetArchitecture.Portable);
        var (model, vae, heads, cache) = (Model("Model whose kernels to compile; the built-in digits when absent"), Vae(), Heads(), Cache());
        var command = new Command("build", "Compile all kernels a model needs into the cache") { architectures, model, vae, heads, cache };
        command.SetAction(parse =>
        {
            var session = open(parse);
            var targets = Targets(parse.GetRequiredValue(architectures)!);
            var specs = Planned(plan, parse.GetValue(model) ?? ModelSource.BuiltIn, parse.GetValue(heads), parse.GetValue(vae));
            KernelBuildRun.Run(session, [.. targets.Select(target => (target, specs(target)))], parse.GetValue(cache));
            return (int)ExitCode.Ok;
        });
        return command;
    }

    private static Command CreateList(Func<ParseResult, Session> open, KernelPlanner plan)
    {
        var architectures = Architectures("Only those compiled for these GPU architectures");
        var (model, vae, heads, cache) = (Model("Only those this model needs"), Vae(), Heads(), Cache());
        var command = new Command("list", "Show the compiled kernels: registers, shared memory, spills, size") { architectures, model, vae, heads, cache };
        command.SetAction(parse =>
        {
            var session = open(parse);
            var targets = parse.GetValue(architectures) is { } text ? Targets(text) : null;
            var specs = parse.GetValue(model) is { } path ? Planned(plan, path, parse.GetValue(heads), parse.GetValue(vae)) : null;
            KernelTable.Print(session, new KernelCache(parse.GetValue(cache)), specs, targets);
            return (int)ExitCode.Ok;
        });
        return command;
    }

    private static Option<string?> Architectures(string description) => Flags.OptionalText("--arch", description, "sm_87,sm_90a");

    private static Option<string?> Model(string description) => Flags.OptionalText("--model", description, "PATH", "-m");

    private static Option<string?> Vae() => Flags.OptionalText("--vae", "Decoder whose kernels to add; the one in the model's own folder when absent", "PATH");

    private static Option<int?> Heads() => Flags.OptionalWhole("--heads", "Attention heads, where the checkpoint does not say");

    private static Option<string?> Cache() => Flags.OptionalText("--cache", "Folder of compiled kernels; the user's own cache when absent", "DIR");

    private static Func<TargetArchitecture, IReadOnlyList<KernelSpec>> Planned(KernelPlanner plan, string model, int? heads, string? vae)
    {
        DiTConfig config;
        using (var weights = ModelSource.Open(model, heads)) config = weights.Config;
        var hasDecoder = vae is not null || (!ModelSource.IsPixelSpace(config) && Directory.Exists(Path.Combine(model, "vae")));
        return target => plan(() => ModelSource.Open(model, heads), target, hasDecoder ? backend => ModelSource.OpenDecoder(model, vae, config, backend) : null);
    }

    /// <exception cref="UsageException">A word is no architecture.</exception>
    private static TargetArchitecture[] Targets(string text) =>
        [.. text.Split(',', StringSplitOptions.TrimEntries).Select(TargetArchitecture.Parse).Distinct()];
}

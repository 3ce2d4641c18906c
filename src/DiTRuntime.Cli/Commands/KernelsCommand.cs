using System.CommandLine;
using DiTRuntime.Cli.Compilation;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Models;

namespace DiTRuntime.Cli.Commands;

/// <summary><c>dit kernels</c>: compile a model's GPU kernels ahead of time, and see what they need. No GPU is used.</summary>
internal static class KernelsCommand
{
    /// <summary>Makes the command.</summary>
    /// <param name="open">Reads the common options.</param>
    /// <param name="plan">The kernels a model needs on GPUs of an architecture.</param>
    public static Command Create(Func<ParseResult, Session> open, Func<DiTWeights, TargetArchitecture, IReadOnlyList<KernelSpec>> plan) =>
        new("kernels", "Compile a model's GPU kernels ahead of time, and list them") { CreateBuild(open, plan), CreateList(open, plan) };

    private static Command CreateBuild(Func<ParseResult, Session> open, Func<DiTWeights, TargetArchitecture, IReadOnlyList<KernelSpec>> plan)
    {
        var architectures = Architectures("GPU architectures to compile for");
        architectures.DefaultValueFactory = _ => string.Join(',', TargetArchitecture.Portable);
        var (model, heads, cache) = (Model("Model whose kernels to compile; the built-in digits when absent"), Heads(), Cache());
        var command = new Command("build", "Compile all kernels a model needs into the cache") { architectures, model, heads, cache };
        command.SetAction(parse =>
        {
            var session = open(parse);
            var targets = Targets(parse.GetRequiredValue(architectures)!);
            using var weights = ModelSource.Open(parse.GetValue(model) ?? ModelSource.BuiltIn, parse.GetValue(heads));
            KernelBuildRun.Run(session, [.. targets.Select(target => (target, plan(weights, target)))], parse.GetValue(cache));
            return (int)ExitCode.Ok;
        });
        return command;
    }

    private static Command CreateList(Func<ParseResult, Session> open, Func<DiTWeights, TargetArchitecture, IReadOnlyList<KernelSpec>> plan)
    {
        var architectures = Architectures("Only those compiled for these GPU architectures");
        var (model, heads, cache) = (Model("Only those this model needs"), Heads(), Cache());
        var command = new Command("list", "Show the compiled kernels: registers, shared memory, spills, size") { architectures, model, heads, cache };
        command.SetAction(parse =>
        {
            var session = open(parse);
            var targets = parse.GetValue(architectures) is { } text ? Targets(text) : null;
            using var weights = parse.GetValue(model) is { } path ? ModelSource.Open(path, parse.GetValue(heads)) : null;
            KernelTable.Print(session, new KernelCache(parse.GetValue(cache)), weights is null ? null : target => plan(weights, target), targets);
            return (int)ExitCode.Ok;
        });
        return command;
    }

    private static Option<string?> Architectures(string description) => Flags.OptionalText("--arch", description, "sm_87,sm_90a");

    private static Option<string?> Model(string description) => Flags.OptionalText("--model", description, "PATH", "-m");

    private static Option<int?> Heads() => Flags.OptionalWhole("--heads", "Attention heads, where the checkpoint does not say");

    private static Option<string?> Cache() => Flags.OptionalText("--cache", "Folder of compiled kernels; the user's own cache when absent", "DIR");

    /// <exception cref="UsageException">A word is no architecture.</exception>
    private static TargetArchitecture[] Targets(string text) =>
        [.. text.Split(',', StringSplitOptions.TrimEntries).Select(TargetArchitecture.Parse).Distinct()];
}

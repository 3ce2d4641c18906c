using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;

namespace DiTRuntime.Cli.Commands;

/// <summary><c>dit forward</c>: one raw forward pass, for checking against anything else.</summary>
internal static class ForwardCommand
{
    /// <summary>Makes the command.</summary>
    /// <param name="open">Reads the common options.</param>
    public static Command Create(Func<ParseResult, Session> open)
    {
        var model = Flags.OptionalText("--model", "Checkpoint file or diffusers folder; the built-in digits when absent", "PATH", "-m");
        var heads = Flags.OptionalWhole("--heads", "Attention heads, where the checkpoint does not say");
        var compat = Flags.Choice("--compat", "Which published implementation to agree with", "official", "diffusers");
        var inputs = Flags.OptionalText("--inputs", "Tensors x [B,C,S,S], t [B] or [1], y [B], and cfg_scale for a guided pass", "FILE");
        var output = Flags.OptionalText("--out", "Where to write the tensor out [B,Cout,S,S]", "FILE", "-o");
        inputs.Required = output.Required = true;
        var command = new Command("forward", "Run the model once on given tensors") { model, heads, compat, inputs, output };
        command.SetAction(parse =>
        {
            Run(open(parse), parse.GetValue(model) ?? ModelSource.BuiltIn, parse.GetValue(heads), Flags.Compatibility(parse, compat), parse.GetRequiredValue(inputs)!, parse.GetRequiredValue(output)!);
            return (int)ExitCode.Ok;
        });
        return command;
    }

    private static void Run(Session session, string modelPath, int? heads, Compatibility compatibility, string inputs, string output)
    {
        using var backend = session.CreateBackend();
        using var weights = ModelSource.Open(modelPath, heads);
        var config = weights.Config;
        using var file = new TensorFile(inputs);
        var latents = file.Read("x", null, config.InChannels, config.InputSize, config.InputSize);
        var count = latents.Length / config.LatentCount;
        var timesteps = file.ReadIndices("t", count, 1000);
        var labels = file.ReadIndices("y", count, config.ClassCount + 1);
        float? scale = file.Has("cfg_scale") ? file.ReadNumber("cfg_scale") : null;
        OutputProbe.Check(output);

        using var model = new DiTModel(weights, backend, compatibility);
        var forward = new DiTForward(model);
        var values = scale is { } s ? forward.Guided(latents, timesteps, labels, s) : forward.Raw(latents, timesteps, labels);
        int[] shape = [count, config.OutChannels, config.InputSize, config.InputSize];
        AtomicFile.Write(output, stream => SafetensorsWriter.Write(stream, new Dictionary<string, string>(), [TensorValues.Of("out", shape, values)]));
        if (!session.Json)
        {
            session.Print(output);
            return;
        }

        session.Print(new JsonObject
        {
            ["file"] = output,
            ["shape"] = new JsonArray([.. shape.Select(extent => (JsonNode)extent)]),
            ["compat"] = compatibility.ToString().ToLower(CultureInfo.InvariantCulture),
            ["cfg_scale"] = scale,
            ["backend"] = backend.Name,
            ["backend_description"] = backend.Description,
        });
    }
}

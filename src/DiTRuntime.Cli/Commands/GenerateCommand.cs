using System.CommandLine;
using DiTRuntime.Cli.Generation;

namespace DiTRuntime.Cli.Commands;

/// <summary><c>dit generate</c>: class labels to images.</summary>
internal static class GenerateCommand
{
    /// <summary>Makes the command.</summary>
    /// <param name="open">Reads the common options.</param>
    public static Command Create(Func<ParseResult, Session> open)
    {
        var model = Flags.OptionalText("--model", "Checkpoint file or diffusers folder; the built-in digits when absent", "PATH", "-m");
        var vae = Flags.OptionalText("--vae", "Decoder file or folder; needed by models that work on latents", "PATH");
        var labels = new Option<string[]>("--class-labels") { Description = "Classes by index, name or WordNet id, separated by commas; all is every class", HelpName = "LIST", DefaultValueFactory = _ => [] };
        var steps = Flags.OptionalWhole("--steps", "Sampling steps, 1 to 1000 [default: 50]");
        var sampler = Flags.Text("--sampler", "Sampler", "ddim|ddpm", "ddim");
        var spacing = Flags.OptionalText("--spacing", "leading (default of ddim), linspace (of ddpm), trailing, or steps per section: 10,15,20", "NAME");
        var eta = Flags.Number("--eta", "Noise of ddim: 0 none, 1 as much as the posterior", 0);
        var scale = Flags.Number("--cfg-scale", "Guidance scale; 1 turns guidance off", 4);
        var channels = Flags.OptionalText("--cfg-channels", "Guided latent channels: 3 (default of official) or all (of diffusers)", "3|all");
        var seed = Flags.Long("--seed", "Seed; image i is seeded with seed + i; -1 draws one and prints it", 0);
        var noise = Flags.Choice("--noise", "One generator per image, or one stream over the batch as the published scripts draw it", "image", "batch");
        var latents = Flags.OptionalText("--latents", "Safetensors file with the noise to start from", "FILE");
        var compat = Flags.Choice("--compat", "Which published implementation to agree with", "official", "diffusers");
        var heads = Flags.OptionalWhole("--heads", "Attention heads, where the checkpoint does not say");
        var size = Flags.OptionalWhole("--image-size", "Side of the images in pixels, where it is not the model's own");
        var count = Flags.OptionalWhole("--count", "Images; the labels are repeated in turn [default: one per label]");
        var batch = Flags.OptionalWhole("--batch", "Images sampled together; changes speed and memory, not the images");
        var maxVram = Flags.OptionalWhole("--max-vram", "The most GPU memory to use, in MB: weights and tiles are fitted to it, or the run is refused before it begins");
        var shard = Flags.OptionalText("--shard", "Make only images i-1, i-1+n, ... of the run, and of these only what is not there yet; k+1/n counts from zero", "i/n");
        var output = Flags.OptionalText("--out", "File, pattern ({index:06d}, {seed}, {class}, %03d) or folder; one file takes several images as a grid [default: output.png]", "PATH", "-o");
        var grid = Flags.Switch("--grid", "Also make a grid of all images");
        var npz = Flags.OptionalText("--npz", "Also write the images as arr_0 for the ADM evaluation; with --shard a part for dit merge", "FILE");
        var saveLatents = Flags.OptionalText("--save-latents", "Also write the latents (and the noise they came from) as safetensors", "FILE");
        var latentsOnly = Flags.Switch("--latents-only", "Stop before the decoder; --out is then the safetensors");

        var command = new Command("generate", "Generate images of given classes")
        {
            model, vae, labels, steps, sampler, spacing, eta, scale, channels, seed, noise, latents, compat, heads, size, count, batch, maxVram, shard, output, grid, npz, saveLatents, latentsOnly,
        };
        command.SetAction(parse =>
        {
            var options = new GenerateOptions
            {
                Model = parse.GetValue(model),
                Vae = parse.GetValue(vae),
                Heads = parse.GetValue(heads),
                ImageSize = parse.GetValue(size),
                Compatibility = Flags.Compatibility(parse, compat),
                ClassLabels = parse.GetValue(labels) ?? [],
                Count = parse.GetValue(count),
                Batch = parse.GetValue(batch),
                MaxVramMegabytes = parse.GetValue(maxVram),
                Shard = parse.GetValue(shard) is { } part ? Shard.Parse(part) : null,
                Sampler = parse.GetRequiredValue(sampler),
                Steps = parse.GetValue(steps),
                Spacing = parse.GetValue(spacing),
                Eta = parse.GetValue(eta),
                CfgScale = parse.GetValue(scale),
                CfgChannels = parse.GetValue(channels),
                Seed = parse.GetValue(seed),
                Noise = parse.GetRequiredValue(noise) == "batch" ? NoiseKind.Batch : NoiseKind.Image,
                Latents = parse.GetValue(latents),
                Out = parse.GetValue(output),
                Grid = parse.GetValue(grid),
                Npz = parse.GetValue(npz),
                SaveLatents = parse.GetValue(saveLatents),
                LatentsOnly = parse.GetValue(latentsOnly),
            };
            new GenerateRun(options, open(parse)).Execute();
            return (int)ExitCode.Ok;
        });
        return command;
    }
}

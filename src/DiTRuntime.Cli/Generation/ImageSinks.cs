using DiTRuntime.Imaging;
using DiTRuntime.Models;

namespace DiTRuntime.Cli.Generation;

/// <summary>Turns finished images into files: each its own, a sheet, the sample file, the latents.</summary>
/// <param name="setup">The run.</param>
/// <param name="side">Side of an image in pixels.</param>
/// <param name="channels">1 or 3.</param>
/// <param name="rounding">How decoded values become bytes.</param>
internal sealed class ImageSinks(GenerationSetup setup, int side, int channels, PixelRounding rounding)
{
    private readonly List<float[]> _latents = [];
    private readonly List<Image> _sheet = [];
    private int _count;

    /// <summary>Checks what can only be checked once the size of the images is known.</summary>
    /// <exception cref="UsageException">The sheet would not fit into one image.</exception>
    public void Check()
    {
        long cell = side + ImageGrid.DefaultPadding;
        if (setup.Files.Grid is { } path && (setup.Images.Length + SheetColumns(setup.Images.Length)) * cell * cell * channels > Array.MaxLength)
            throw new UsageException($"{path}: {setup.Images.Length} images of {side}x{side} pixels do not fit on one sheet; give --out a folder");
    }

    /// <summary>Runs the generation and writes what it makes; every file appears whole or not at all.</summary>
    /// <param name="generate">Generates, and hands each image over as soon as it is finished.</param>
    public void Collect(Action<Action<GeneratedImage>> generate)
    {
        if (setup.Files.Npz is { } path)
        {
            // Written while the images come, so that memory does not grow with their number.
            AtomicFile.Write(path, stream =>
            {
                using var writer = new NpzWriter(stream, setup.Images.Length, side, side);
                generate(image => Add(image, writer));
                writer.Complete();
            });
        }
        else
        {
            generate(image => Add(image, npz: null));
        }

        if (setup.Files.Latents is { } latents) LatentsFile.Write(latents, setup.Config, _latents, setup.InitialLatents);
        if (setup.Files.Grid is { } grid) WriteSheet(grid);
    }

    /// <summary>Images in a row of a sheet: all up to four; else the squarest wide sheet without gaps, four by two for eight as published.</summary>
    internal static int SheetColumns(int count)
    {
        var square = (int)Math.Ceiling(Math.Sqrt(count));
        if (count <= 4) return count;
        for (var columns = square; columns <= 2 * square; columns++)
            if (count % columns == 0) return columns;
        return square;
    }

    private void Add(GeneratedImage generated, NpzWriter? npz)
    {
        if (setup.Files.Latents is not null) _latents.Add(generated.Latent);
        if (generated.Pixels is { } pixels)
        {
            var image = PixelConversion.ToImage(pixels, side, side, channels, rounding);
            npz?.Add(image);
            if (setup.Files.Grid is not null) _sheet.Add(image);
            if (setup.Files.Images.Length > 0)
                ImageCodecs.Save(setup.Files.Images[_count], image, setup.ParametersOf(generated.Index, generated.Label, image).ToTexts());
        }

        _count++;
    }

    private void WriteSheet(string path)
    {
        var columns = SheetColumns(_sheet.Count);
        var first = setup.ParametersOf(setup.Images[0], setup.Labels[0], _sheet[0]).Format();
        ImageCodecs.Save(path, ImageGrid.Compose(_sheet, columns), Texts(_sheet.Count == 1 ? first : SheetText(first, columns)));
    }

    /// <summary>What the images share, with all their classes; size and seed are the first image's.</summary>
    private string SheetText(string first, int columns)
    {
        var classes = string.Join(' ', setup.Labels);
        var rows = (_sheet.Count + columns - 1) / columns;
        return ParameterText.Format(
        [
            .. ParameterText.TryParse(first)!.Select(field => (field.Key, (string?)(field.Key == "Class" ? classes : field.Value))),
            ("Grid", $"{columns}x{rows}"),
        ]);
    }

    private static Dictionary<string, string> Texts(string parameters) => new() { [GenerationParameters.Keyword] = parameters };
}

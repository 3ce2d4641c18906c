using DiTRuntime.Cli.Sharding;
using DiTRuntime.Imaging;
using DiTRuntime.Models;

namespace DiTRuntime.Cli.Generation;

/// <summary>Turns finished images into files: each its own, a sheet, the sample file, the latents.</summary>
/// <param name="setup">The run.</param>
/// <param name="side">Side of an image in pixels.</param>
/// <param name="channels">1 or 3.</param>
/// <param name="rounding">How decoded values become bytes.</param>
internal sealed class ImageSinks(GenerationSetup setup, int side, int channels, PixelRounding rounding) : IDisposable
{
    private readonly List<float[]> _latents = [];
    private readonly List<Image> _sheet = [];
    private ShardPart? _part;
    private int _count;

    /// <summary>The images that are to be made, by their place in this run's list, ascending.</summary>
    public int[] Pending { get; private set; } = [.. Enumerable.Range(0, setup.Images.Length)];

    /// <summary>Checks what can only be checked once the size of the images is known.</summary>
    /// <exception cref="UsageException">The sheet would not fit into one image.</exception>
    public void Check()
    {
        long cell = side + ImageGrid.DefaultPadding;
        if (setup.Files.Grid is { } path && (setup.Images.Length + SheetColumns(setup.Images.Length)) * cell * cell * channels > Array.MaxLength)
            throw new UsageException($"{path}: {setup.Images.Length} images of {side}x{side} pixels do not fit on one sheet; give --out a folder");
    }

    /// <summary>Finds what is there already of a shard, so that only the rest is made.</summary>
    /// <remarks>An image is there when the log of the part holds it, and when its PNG file is whole and says just what this run would write into it.</remarks>
    /// <exception cref="OutputException">The part's file is of another run.</exception>
    /// <exception cref="InvalidFileException">The part's file is damaged, or no part.</exception>
    public void Resume()
    {
        if (!setup.Resumes) return;
        if (setup.Files.Npz is { } path)
            _part = ShardPart.Open(path, new PartDescription(RunDescription.Of(setup, side, channels), setup.Shard, Digest: null), setup.Images, side);
        var recorded = _part?.Count ?? setup.Images.Length;
        Pending = [.. Pending.Where(k => k >= recorded || !FileIsThere(k))];
    }

    /// <inheritdoc/>
    public void Dispose() => _part?.Dispose();

    /// <summary>Runs the generation and writes what it makes; every file appears whole or not at all.</summary>
    /// <param name="generate">Generates, and hands each image over as soon as it is finished.</param>
    public void Collect(Action<Action<GeneratedImage>> generate)
    {
        if (_part is not null)
        {
            generate(image => Add(image, npz: null));
            _part.Complete();
        }
        else if (setup.Files.Npz is { } path)
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
        var place = Pending[_count++];
        if (setup.Files.Latents is not null) _latents.Add(generated.Latent);
        if (generated.Pixels is { } pixels)
        {
            var image = PixelConversion.ToImage(pixels, side, side, channels, rounding);
            npz?.Add(image);
            if (setup.Files.Grid is not null) _sheet.Add(image);
            if (setup.Files.Images.Length > 0)
                ImageCodecs.Save(setup.Files.Images[place], image, setup.ParametersOf(generated.Index, generated.Label, image).ToTexts());
            if (place == _part?.Count) _part.Append(image);
        }
    }

    private bool FileIsThere(int place)
    {
        if (setup.Files.Images.Length == 0) return true;
        var path = setup.Files.Images[place];
        try
        {
            if (!PngReader.IsPng(path)) return false;
            var found = PngReader.ReadDescription(path).Text.GetValueOrDefault(GenerationParameters.Keyword);
            return found == setup.ParametersOf(setup.Images[place], setup.Labels[place], new Image(side, side, channels, new byte[side * side * channels])).Format();
        }
        catch (InvalidFileException)
        {
            // Damaged: it is made again.
            return false;
        }
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

using System.Globalization;
using System.Text.RegularExpressions;

namespace DiTRuntime.Imaging;

/// <summary>What a file name can depend on.</summary>
/// <param name="Index">Index of the image in the whole run.</param>
/// <param name="Seed">Its seed.</param>
/// <param name="Class">Its class.</param>
public readonly record struct OutputImage(int Index, ulong Seed, int Class);

/// <summary>Where each image of a run goes: what `--out` means.</summary>
/// <remarks>
/// A folder (an existing one, a path that ends with a separator, or a name without extension) takes `{index:06d}.png`
/// files. A name with `{index}`, `{seed}`, `{class}` (each also padded: `{index:06d}`) or `%d`, `%03d` (the index) is a
/// pattern. Folders that such a field names, and the folder of the first kind, are made when missing. Any other name takes
/// the first image; the following ones get `_2`, `_3`, … before the extension.
/// </remarks>
public sealed partial class OutputPattern
{
    private const string FolderPattern = "{index:06d}.png";
    private readonly string _pattern;
    private readonly bool _makesFolders;

    private OutputPattern(string pattern, bool makesFolders, bool isPlainFile)
    {
        _pattern = pattern;
        _makesFolders = makesFolders;
        IsPlainFile = isPlainFile;
    }

    /// <summary>Whether the name is that of one file, so that it can hold a grid.</summary>
    public bool IsPlainFile { get; }

    /// <summary>Understands an output name.</summary>
    /// <exception cref="UsageException">An empty name, an unknown field, or a format this build does not write.</exception>
    public static OutputPattern Parse(string output)
    {
        if (string.IsNullOrWhiteSpace(output)) throw new UsageException("--out: no name given");
        foreach (var field in Field().EnumerateMatches(output))
        {
            var text = output.AsSpan(field.Index, field.Length);
            if (!KnownField().IsMatch(text))
                throw new UsageException($"--out {output}: unknown field {text}; expected {{index}}, {{seed}}, {{class}}, {{index:06d}} or %03d");
        }

        var name = Path.GetFileName(output);
        var isFolder = name.Length == 0 || Directory.Exists(output) || (!Path.HasExtension(name) && !Field().IsMatch(name));
        if (isFolder) return new OutputPattern(Path.Combine(output, FolderPattern), makesFolders: true, isPlainFile: false);
        ImageCodecs.ForPath(output);
        return new OutputPattern(output, makesFolders: Field().IsMatch(output[..^name.Length]), isPlainFile: !Field().IsMatch(output));
    }

    /// <summary>The path of one image.</summary>
    public string PathOf(OutputImage image)
    {
        if (!IsPlainFile) return Field().Replace(_pattern, field => Expand(KnownField().Match(field.Value), image));
        if (image.Index == 0) return _pattern;
        var extension = Path.GetExtension(_pattern);
        return string.Create(CultureInfo.InvariantCulture, $"{_pattern.AsSpan(0, _pattern.Length - extension.Length)}_{image.Index + 1L}{extension}");
    }

    /// <summary>The paths of the images of a run.</summary>
    /// <exception cref="UsageException">Two images would share a path.</exception>
    public string[] PathsOf(IReadOnlyList<OutputImage> images)
    {
        var paths = new string[images.Count];
        var owners = new Dictionary<string, int>(images.Count);
        for (var i = 0; i < paths.Length; i++)
        {
            paths[i] = PathOf(images[i]);
            if (!owners.TryAdd(paths[i], i))
                throw new UsageException($"--out {_pattern}: images {images[owners[paths[i]]].Index} and {images[i].Index} would both be {paths[i]}; add {{index}}");
        }

        return paths;
    }

    /// <summary>Makes the folders that are the run's own, and tries that files can be made where the paths lie.</summary>
    /// <param name="paths">Paths of the images to come.</param>
    /// <exception cref="OutputException">The folder is missing, cannot be made, or takes no files.</exception>
    public void Prepare(IEnumerable<string> paths)
    {
        foreach (var inFolder in paths.GroupBy(Path.GetDirectoryName)) OutputProbe.Check(inFolder.First(), _makesFolders);
    }

    private static string Expand(Match field, OutputImage image)
    {
        IFormattable value = field.Groups["name"].Value switch
        {
            "seed" => image.Seed,
            "class" => image.Class,
            _ => image.Index,
        };
        var width = field.Groups["width"].Value;
        return value.ToString(width.Length == 0 ? null : $"D{width}", CultureInfo.InvariantCulture);
    }

    // Anything that looks like a field, so that a misspelt one is told and not taken literally.
    [GeneratedRegex(@"\{[^{}]*\}|%\d*d", RegexOptions.CultureInvariant)]
    private static partial Regex Field();

    [GeneratedRegex(@"^\{(?<name>index|seed|class)(:0?(?<width>\d{1,2})d)?\}$|^%(0(?<width>\d{1,2}))?d$", RegexOptions.CultureInvariant)]
    private static partial Regex KnownField();
}

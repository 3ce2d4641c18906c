using DiTRuntime.Imaging;

namespace DiTRuntime.Cli.Generation;

/// <summary>Which files a run will make, settled and checked before the long work begins.</summary>
internal sealed class Outputs
{
    private const string DefaultImage = "output.png";
    private const string DefaultLatents = "latents.safetensors";
    private const string GridName = "grid.png";

    private readonly OutputPattern? _pattern;

    private Outputs(OutputPattern? pattern, string[] images, string? grid, string? npz, string? latents)
    {
        _pattern = pattern;
        Images = images;
        Grid = grid;
        Npz = npz;
        Latents = latents;
    }

    /// <summary>One path for each image of the run, or none when only other files are asked for.</summary>
    public string[] Images { get; }

    /// <summary>The sheet of all images.</summary>
    public string? Grid { get; }

    /// <summary>The sample file of the ADM evaluation.</summary>
    public string? Npz { get; }

    /// <summary>The safetensors file with the latents.</summary>
    public string? Latents { get; }

    /// <summary>Whether pixels are needed at all.</summary>
    public bool NeedPixels => Images.Length > 0 || Grid is not null || Npz is not null;

    /// <summary>Every file, in the order in which they are finished.</summary>
    public IEnumerable<string> All
    {
        get
        {
            foreach (var path in Images) yield return path;
            if (Grid is not null) yield return Grid;
            if (Latents is not null) yield return Latents;
            if (Npz is not null) yield return Npz;
        }
    }

    /// <summary>Settles the paths.</summary>
    /// <remarks>One name for several images takes a sheet of them, as the published sampling script has it.</remarks>
    /// <exception cref="UsageException">Flags that contradict each other, or two files of one name.</exception>
    public static Outputs Settle(GenerateOptions options, IReadOnlyList<OutputImage> images)
    {
        if (options.LatentsOnly)
        {
            if (options.Grid || options.Npz is not null) throw new UsageException("--latents-only makes no images; leave out --grid and --npz");
            if (options.SaveLatents is not null && options.Out is not null) throw new UsageException("--latents-only writes the latents to --out; leave out --save-latents");
            return new Outputs(null, [], null, null, options.Out ?? options.SaveLatents ?? DefaultLatents);
        }

        var name = options.Out ?? (options.Npz is null && options.SaveLatents is null || options.Grid ? DefaultImage : null);
        if (name is null) return Checked(options, new Outputs(null, [], null, options.Npz, options.SaveLatents));
        var pattern = OutputPattern.Parse(name);
        var isSheet = pattern.IsPlainFile && (images.Count > 1 || options.Grid);
        string[] paths = isSheet ? [] : pattern.IsPlainFile ? [name] : pattern.PathsOf(images);
        var grid = isSheet ? name : options.Grid ? Path.Combine(FixedFolder(name, paths[0]), GridName) : null;
        return Checked(options, new Outputs(pattern, paths, grid, options.Npz, options.SaveLatents));
    }

    /// <summary>Tries that every file can be made, and makes the folders that are the run's own.</summary>
    /// <exception cref="OutputException">A folder is missing or takes no files, or a folder stands where a file is to be.</exception>
    public void Prepare()
    {
        _pattern?.Prepare(Images);
        foreach (var path in All.Skip(Images.Length)) OutputProbe.Check(path);
    }

    /// <summary>The folder that all images of a pattern lie in or below.</summary>
    private static string FixedFolder(string pattern, string firstImage)
    {
        var field = pattern.IndexOfAny(['{', '%']);
        return Path.GetDirectoryName(field < 0 ? firstImage : pattern[..field]) ?? "";
    }

    private static Outputs Checked(GenerateOptions options, Outputs outputs)
    {
        if (options.Shard is not null && outputs is { Npz: not null } and not { Grid: null, Latents: null })
            throw new UsageException("--shard with --npz makes only the images that are not there yet; leave out --grid and --save-latents, and name a folder with --out: they would want all images at once");
        var paths = outputs.All.Select(Path.GetFullPath).ToArray();
        var twice = paths.GroupBy(p => p).FirstOrDefault(g => g.Count() > 1);
        return twice is null ? outputs : throw new UsageException($"{twice.Key}: two outputs would have this name");
    }
}

using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using DiTRuntime.Cli.Generation;
using DiTRuntime.Imaging;

namespace DiTRuntime.Cli.Sharding;

/// <summary>Which run an image belongs to: everything that its pixels depend on, as names and texts. Parts of one run have equal ones.</summary>
internal sealed class RunDescription
{
    private const string ImagesField = "Images";
    private const int MaxFields = 64;
    private const int LongestName = 40, LongestValue = 200;

    /// <summary>More classes than this are told by their hash.</summary>
    private const int MostListedClasses = 24;

    private readonly (string Name, string Value)[] _fields;

    private RunDescription((string Name, string Value)[] fields, int count) => (_fields, Count) = (fields, count);

    /// <summary>Images of the whole run.</summary>
    public int Count { get; }

    /// <summary>Size of its images in pixels: "256x256".</summary>
    public string? Size => _fields.FirstOrDefault(pair => pair.Name == "Size").Value;

    /// <summary>Names and values, in order.</summary>
    public IReadOnlyList<(string Name, string Value)> Fields => _fields;

    /// <summary>Describes a run: what its images' texts share, the classes, the first seed, the number of images.</summary>
    /// <param name="setup">The run.</param>
    /// <param name="side">Side of an image in pixels.</param>
    /// <param name="channels">1 or 3.</param>
    public static RunDescription Of(GenerationSetup setup, int side, int channels)
    {
        var blank = new Image(side, side, channels, new byte[side * side * channels]);
        var shared = ParameterText.TryParse(setup.ParametersOf(0, 0, blank).Format())!.Where(field => field.Key is not ("Class" or "Seed"));
        return new RunDescription(
        [
            .. shared.Select(field => (field.Key, field.Value)),
            ("Channels", Text(channels)),
            ("Classes", ClassesText(setup.ClassCycle)),
            ("First seed", Text(setup.Seed)),
            (ImagesField, Text(setup.TotalCount)),
        ], setup.TotalCount);
    }

    /// <summary>Reads what <see cref="Write"/> has written.</summary>
    /// <param name="path">The file, for errors.</param>
    /// <param name="json">The object.</param>
    /// <exception cref="InvalidFileException">It is not one.</exception>
    public static RunDescription Read(string path, JsonElement json)
    {
        if (json.ValueKind != JsonValueKind.Object) throw new InvalidFileException(path, "its description names no run");
        var fields = new List<(string, string)>();
        var count = 0;
        foreach (var field in json.EnumerateObject())
        {
            if (fields.Count == MaxFields || field.Name.Length > LongestName || field.Value.ValueKind != JsonValueKind.String || field.Value.GetString() is not { Length: <= LongestValue } value)
                throw new InvalidFileException(path, "its description of the run is damaged");
            if (field.Name == ImagesField && !int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out count)) count = 0;
            fields.Add((field.Name, value));
        }

        if (count is < 1 or > GenerationSetup.MaxImages) throw new InvalidFileException(path, $"its description claims a run of no number of images from 1 to {GenerationSetup.MaxImages}");
        return new RunDescription([.. fields], count);
    }

    /// <summary>Writes it as an object of texts.</summary>
    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        foreach (var (name, value) in _fields) json.WriteString(name, value);
        json.WriteEndObject();
    }

    /// <summary>The first thing in which another run differs: "Steps 20 in the place of 50"; null where it is the same run.</summary>
    public string? DifferenceOf(RunDescription other)
    {
        foreach (var (name, value) in _fields)
        {
            var found = other._fields.FirstOrDefault(field => field.Name == name).Value;
            if (found != value) return $"{name} {found ?? "not told"} in the place of {value}";
        }

        var extra = other._fields.FirstOrDefault(field => !_fields.Any(own => own.Name == field.Name));
        return extra.Name is not null ? $"{extra.Name} {extra.Value}, which was not expected" : _fields.SequenceEqual(other._fields) ? null : "another order of fields";
    }

    private static string ClassesText(int[] classes) =>
        classes.Length <= MostListedClasses
            ? string.Join(' ', classes)
            : $"{classes.Length}, SHA-256 {Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes(string.Join(' ', classes))))}";

    private static string Text(IFormattable value) => value.ToString(null, CultureInfo.InvariantCulture);
}

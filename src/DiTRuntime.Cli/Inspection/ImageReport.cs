using System.Text.Json.Nodes;
using DiTRuntime.Imaging;

namespace DiTRuntime.Cli.Inspection;

/// <summary>Tells how an image was made.</summary>
internal static class ImageReport
{
    /// <summary>Prints size, pixels and parameters of a PNG file.</summary>
    /// <exception cref="InvalidFileException">The file is damaged.</exception>
    public static void Print(string path, Session session)
    {
        var description = PngReader.ReadDescription(path);
        description.Text.TryGetValue(GenerationParameters.Keyword, out var text);
        var fields = text is null ? null : ParameterText.TryParse(text);
        if (session.Json)
        {
            session.Print(Json(path, description, text, fields));
            return;
        }

        session.Print($"{path}: PNG, {description.Width}x{description.Height}, {description.BitDepth}-bit {description.Colour}");
        if (fields is null) session.Print(text ?? "no generation parameters");
        else foreach (var (name, value) in fields) session.Print($"  {name}: {value}");
        foreach (var (keyword, value) in description.Text)
            if (session.Verbose && keyword != GenerationParameters.Keyword) session.Print($"  [{keyword}] {value}");
    }

    private static JsonObject Json(string path, PngDescription description, string? text, IReadOnlyDictionary<string, string>? fields)
    {
        var parameters = fields is null ? null : new JsonObject();
        if (parameters is not null) foreach (var (name, value) in fields!) parameters[name] = value;
        var texts = new JsonObject();
        foreach (var (keyword, value) in description.Text) texts[keyword] = value;
        return new JsonObject
        {
            ["file"] = path,
            ["kind"] = "PNG",
            ["width"] = description.Width,
            ["height"] = description.Height,
            ["bit_depth"] = description.BitDepth,
            ["colour"] = description.Colour,
            ["parameters"] = parameters,
            ["text"] = texts,
        };
    }
}

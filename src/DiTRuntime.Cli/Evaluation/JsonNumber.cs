using System.Text.Json.Nodes;

namespace DiTRuntime.Cli.Evaluation;

/// <summary>Numbers for JSON, which knows no NaN and no infinity.</summary>
internal static class JsonNumber
{
    /// <summary>The number, or null where it is not finite or there is none.</summary>
    public static JsonNode? Of(double? value) => value is { } number && double.IsFinite(number) ? JsonValue.Create(number) : null;
}

using System.Text.Json.Nodes;

namespace DiTRuntime.Exporter.Planning;

/// <summary>What an export holds in memory when it runs, for people and for programs.</summary>
internal interface IMemoryPlan
{
    /// <summary>What memory.json holds, and <c>dit export --json</c> prints.</summary>
    JsonObject Json();

    /// <summary>A table in Markdown.</summary>
    string Markdown();

    /// <summary>The plan on lines, for a terminal.</summary>
    IEnumerable<string> Lines();
}

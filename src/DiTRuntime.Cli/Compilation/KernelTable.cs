using System.Globalization;
using System.Text.Json.Nodes;
using DiTRuntime.Cuda.Compilation;

namespace DiTRuntime.Cli.Compilation;

/// <summary>Prints the kernels a cache holds for GPUs, and what the assembler said of each.</summary>
internal static class KernelTable
{
    private sealed record Row(TargetArchitecture Target, CachedKernel Cached, CompilationReport Report);

    /// <summary>Prints the table, or the JSON object of a --json run.</summary>
    /// <param name="session">Where to print.</param>
    /// <param name="cache">What to list; kernels of other sources than this program's are left out.</param>
    /// <param name="plan">Only the kernels it names for a target, unless null.</param>
    /// <param name="targets">Only for these, unless null.</param>
    public static void Print(
        Session session, KernelCache cache, Func<TargetArchitecture, IReadOnlyList<KernelSpec>>? plan, IReadOnlyList<TargetArchitecture>? targets)
    {
        var needed = new Dictionary<TargetArchitecture, HashSet<string>>();
        var rows = cache.List()
            .Where(cached => KernelKey.Of(cached.Key.Kernel, cached.Key.Compiler, KernelSources.All) == cached.Key)
            .Select(Read).OfType<Row>()
            .Where(row => targets?.Contains(row.Target) != false && IsNeeded(row))
            .ToArray();
        if (session.Json) session.Print(Json(cache, rows));
        else PrintText(session, rows);
        if (rows.Length == 0) session.Note($"{cache.Folder ?? "no cache folder"}: no such kernels of this version are here; dit kernels build compiles them");

        bool IsNeeded(Row row)
        {
            if (plan is null) return true;
            if (!needed.TryGetValue(row.Target, out var names)) needed.Add(row.Target, names = [.. plan(row.Target).Select(spec => spec.Text)]);
            return names.Contains(row.Cached.Key.Kernel);
        }
    }

    /// <summary>What a kernel was compiled for stands in its compiler's identity; a host compiler's names no such thing.</summary>
    private static Row? Read(CachedKernel cached) =>
        cached.Key.Compiler.Split(' ').FirstOrDefault(word => word.StartsWith("sm_", StringComparison.Ordinal)) is { } target
        && CompilationReport.Parse(cached.Image.Log) is { } report ? new Row(TargetArchitecture.Parse(target), cached, report) : null;

    private static void PrintText(Session session, Row[] rows)
    {
        if (rows.Length == 0) return;
        session.Print("arch     registers  shared  stack  spills    bytes  kernel");
        foreach (var (target, cached, report) in rows)
            session.Print(string.Create(
                CultureInfo.InvariantCulture,
                $"{target.Name,-8} {report.Registers,9}  {report.SharedBytes,6}  {report.StackBytes,5}  {report.SpillStoreBytes + report.SpillLoadBytes,6}  {cached.Image.Code.Length,7}  {cached.Key.Kernel}"));
    }

    private static JsonObject Json(KernelCache cache, Row[] rows) => new()
    {
        ["cache"] = cache.Folder,
        ["kernels"] = new JsonArray([.. rows.Select(row => (JsonNode)new JsonObject
        {
            ["kernel"] = row.Cached.Key.Kernel,
            ["arch"] = row.Target.Name,
            ["compiler"] = row.Cached.Key.Compiler,
            ["registers"] = row.Report.Registers,
            ["shared_bytes"] = row.Report.SharedBytes,
            ["stack_bytes"] = row.Report.StackBytes,
            ["spill_store_bytes"] = row.Report.SpillStoreBytes,
            ["spill_load_bytes"] = row.Report.SpillLoadBytes,
            ["code_bytes"] = row.Cached.Image.Code.Length,
            ["warnings"] = new JsonArray([.. row.Report.Warnings.Select(warning => (JsonNode)warning)]),
        })]),
    };
}

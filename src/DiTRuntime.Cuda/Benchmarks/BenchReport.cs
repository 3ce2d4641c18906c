using System.Globalization;
using System.Text;

namespace DiTRuntime.Cuda.Benchmarks;

/// <summary>Writes results as Markdown and CSV.</summary>
/// <param name="machine">Where they come from.</param>
/// <param name="settings">What was measured.</param>
/// <param name="results">What came out.</param>
public sealed class BenchReport(BenchMachine machine, BenchSettings settings, BenchResults results)
{
    /// <summary>The Markdown file.</summary>
    public const string FileName = "README.md";

    private const string ChecksTitle = "## Checks", KernelsTitle = "## Kernels", StepsTitle = "## Steps";

    /// <summary>The lines of kernels.csv, the columns' names first.</summary>
    public IEnumerable<IReadOnlyList<string>> KernelLines =>
    [
        ["engine", "kernel", "format", "shape", "rows", "us_median", "us_p10", "us_p90", "rounds", "rate", "unit", "roof_fraction", "cublaslt_us", "cublaslt_ratio", "buffer_sets"],
        .. (results.Kernels ?? []).Select(k => Line(
            "ditruntime", k.Kernel, k.Format, k.Shape, k.Rows, Micro(k.Milliseconds.Median), Micro(k.Milliseconds.Low), Micro(k.Milliseconds.High), k.Milliseconds.Count,
            Number(k.Rate / Unit(k).Size, "f2"), Unit(k).Name, Number(k.ShareOf(results.Roof!), "f3"), Number(1000 * k.VendorMilliseconds?.Median, "f2"), Number(k.Speedup, "f3"), k.Copies)),
    ];

    /// <summary>The lines of steps.csv; those of bench/gpu/peer_torch.py have the same columns.</summary>
    public IEnumerable<IReadOnlyList<string>> StepLines =>
    [
        ["engine", "mode", "format", "image_size", "batch", "ms_median", "ms_p10", "ms_p90", "rounds", "table_ms", "images_per_s", "driver_mib", "own_mib", "skipped"],
        .. (results.Steps ?? []).Select(s => s.Skipped is { } reason
            ? Line("ditruntime", Mode(s), s.Format, s.ImageSize, s.Batch, "", "", "", "", "", "", "", "", reason)
            : Line(
                "ditruntime", Mode(s), s.Format, s.ImageSize, s.Batch, Number(s.Milliseconds.Median, "f4"), Number(s.Milliseconds.Low, "f4"), Number(s.Milliseconds.High, "f4"),
                s.Milliseconds.Count, Number(s.TableMilliseconds.Median, "f3"), Number(s.ImagesPerSecond, "f3"), s.DriverBytes >> 20, s.OwnBytes >> 20, "")),
    ];

    /// <summary>The lines of checks.csv.</summary>
    public IEnumerable<IReadOnlyList<string>> CheckLines =>
    [
        ["operation", "format", "shape", "error", "tolerance", "passed", "reason"],
        .. (results.Checks ?? []).Select(c => Line(c.Operation, c.Format, c.Shape, Number(c.Error, "0.000e-0"), Number(c.Tolerance, "0.000e-0"), c.Passed ? "yes" : "no", c.Reason)),
    ];

    /// <summary>Writes README.md and a CSV file for each part that was measured.</summary>
    /// <param name="folder">Where to; parts of the README that this run did not measure stay.</param>
    /// <returns>The files written.</returns>
    /// <exception cref="OutputException">A file cannot be written.</exception>
    public IReadOnlyList<string> Write(string folder)
    {
        var files = new List<string>();
        try
        {
            Directory.CreateDirectory(folder);
            var path = Path.Combine(folder, FileName);
            var kept = File.Exists(path) ? Sections(File.ReadAllText(path)) : [];
            Save(path, Merge(kept));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new OutputException(folder, e.Message, e);
        }

        if (results.Checks is not null) Save(Path.Combine(folder, "checks.csv"), Text(CheckLines));
        if (results.Kernels is not null) Save(Path.Combine(folder, "kernels.csv"), Text(KernelLines));
        if (results.Steps is not null) Save(Path.Combine(folder, "steps.csv"), Text(StepLines));
        return files;

        void Save(string path, string text)
        {
            AtomicFile.Write(path, stream => stream.Write(Encoding.UTF8.GetBytes(text)));
            files.Add(path);
        }
    }

    /// <summary>The whole of the Markdown.</summary>
    /// <param name="kept">Sections of an earlier run, by title.</param>
    public string Merge(IReadOnlyDictionary<string, string> kept)
    {
        var text = new StringBuilder();
        text.Append(Invariant($"# {machine.Device.Name}\n\n"));
        text.Append("Every number was measured; each part says in which run. Made by `dit bench` (docs/gpu-bench.md says how).\n\n");
        var own = new Dictionary<string, string>();
        if (results.Checks is not null) own.Add(ChecksTitle, Checks());
        if (results.Kernels is not null) own.Add(KernelsTitle, Kernels());
        if (results.Steps is not null) own.Add(StepsTitle, Steps());
        // A failed check takes the speed of earlier runs away too: it may be that of wrong kernels.
        var others = results.Failures.Count > 0 ? [] : kept.Keys.Where(title => !own.ContainsKey(title));
        string[] order = [ChecksTitle, KernelsTitle, StepsTitle];
        foreach (var title in own.Keys.Concat(others).OrderBy(title => Array.IndexOf(order, title) is var at and >= 0 ? at : order.Length))
            text.Append(own.GetValueOrDefault(title) ?? kept[title]);
        return text.ToString();
    }

    /// <summary>The sections of a README by title, each with the title.</summary>
    internal static Dictionary<string, string> Sections(string text)
    {
        var sections = new Dictionary<string, string>();
        var starts = new List<int>();
        for (var at = text.IndexOf("\n## ", StringComparison.Ordinal); at >= 0; at = text.IndexOf("\n## ", at + 1, StringComparison.Ordinal)) starts.Add(at + 1);
        for (var i = 0; i < starts.Count; i++)
        {
            var section = text[starts[i]..(i + 1 < starts.Count ? starts[i + 1] : text.Length)];
            sections[section.Split('\n')[0]] = section;
        }

        return sections;
    }

    private string Checks()
    {
        var text = Begin(ChecksTitle);
        var failures = results.Failures.Count;
        text.Append(failures == 0
            ? Invariant($"All {results.Checks!.Count} within their tolerances. ")
            : Invariant($"**{failures} of {results.Checks!.Count} failed; nothing was timed.** "));
        text.Append("Error: the largest of the rows' ‖out − ref‖/‖ref‖, against the CPU backend in fp32. The reasons of the tolerances are in checks.csv.\n\n");
        text.Append("| operation | format | shape | error | tolerance | |\n|---|---|---|---:|---:|---|\n");
        foreach (var c in results.Checks!)
            text.Append(Invariant($"| {c.Operation} | {c.Format} | {c.Shape} | {c.Error:0.0e-0} | {c.Tolerance:0.0e-0} | {(c.Passed ? "ok" : "**failed**")} |\n"));
        return text.Append('\n').ToString();
    }

    private string Kernels()
    {
        var text = Begin(KernelsTitle);
        var roof = results.Roof!;
        text.Append(Invariant($"Roofs of this run: {roof.BytesPerSecond / 1e9:f0} GB/s by a copy of {roof.CopiedBytes >> 20} MiB (read + written); "));
        text.Append(roof.OperationsPerSecond is { } operations
            ? Invariant($"{operations / 1e12:f1} TFLOP/s by {roof.Library}, fp16 with fp32 sums, M = N = K = {roof.Side}. Integer products may exceed it: their tensor-core rate is twice that of fp16.\n\n")
            : Invariant($"no roof of operations and no ratio ({roof.Library}).\n\n"));
        text.Append(Invariant($"Medians of {settings.Rounds} replays of a graph of several launches, which take turns among sets of buffers (more than twice the L2 together); in brackets the 10th and 90th percentile. "));
        text.Append("Products have the epilogue that they have in a block: qkv splits heads, proj and fc2 add to the tokens through a gate, fc1 has GELU and quantizes. cuBLASLt multiplies and stores halves, no more.\n\n");
        foreach (var rows in results.Kernels!.GroupBy(k => k.Rows))
        {
            text.Append(Invariant($"### M = {rows.Key}\n\n| kernel | format | shape | µs | rate | of the roof | × cuBLASLt fp16 |\n|---|---|---|---:|---:|---:|---:|\n"));
            foreach (var k in rows)
            {
                var (unit, size) = Unit(k);
                text.Append(Invariant($"| {k.Kernel} | {k.Format} | {k.Shape} | {Micro(k.Milliseconds.Median)} ({Micro(k.Milliseconds.Low)} to {Micro(k.Milliseconds.High)}) "));
                text.Append(Invariant($"| {k.Rate / size:f1} {unit} | {Number(k.ShareOf(roof), "f2", "–")} | {Number(k.Speedup, "f2", "–")} |\n"));
            }

            text.Append('\n');
        }

        return text.ToString();
    }

    private string Steps()
    {
        var text = Begin(StepsTitle);
        text.Append(Invariant($"Guided DDIM steps (two samples an image) of a model of synthetic weights ({settings.Config.Depth} blocks of {settings.Config.HiddenSize}; random codes where quantized). "));
        text.Append(Invariant($"Medians of {settings.Rounds}, by events; in brackets the 10th and 90th percentile. The table is the modulation of all timesteps, made once before the first step. "));
        text.Append(Invariant($"Images/s: {StepTime.StepsPerImage} steps and the table, without decoding. Memory: what the driver counts since before the model was loaded, and what the runtime counts at its peak.\n\n"));
        text.Append("| image | format | batch | graph | ms a step | table ms | images/s | driver MiB | own MiB |\n|---|---|---:|---|---:|---:|---:|---:|---:|\n");
        foreach (var s in results.Steps!)
        {
            text.Append(Invariant($"| {s.ImageSize}² | {s.Format} | {s.Batch} | {(s.UsesGraph ? "yes" : "no")} "));
            text.Append(s.Skipped is { } reason
                ? Invariant($"| left out: {reason} | | | | |\n")
                : Invariant($"| {s.Milliseconds.Median:f3} ({s.Milliseconds.Low:f3} to {s.Milliseconds.High:f3}) | {s.TableMilliseconds.Median:f2} | {s.ImagesPerSecond:f2} | {s.DriverBytes >> 20} | {s.OwnBytes >> 20} |\n"));
        }

        return text.Append('\n').ToString();
    }

    private StringBuilder Begin(string title)
    {
        var device = machine.Device;
        var text = new StringBuilder(title).Append("\n\n");
        if (device.IsEmulated) text.Append("**Emulated on a processor: the times say nothing about a GPU.**\n\n");
        if (settings.IsQuick) text.Append("**Quick: tiny shapes, which show that everything runs, not how fast.**\n\n");
        text.Append(Invariant($"{device.Name}, sm_{device.Architecture}, {device.MultiprocessorCount} multiprocessors, L2 {device.SecondLevelCacheBytes >> 20} MiB, memory {machine.MemoryBytes >> 20} MiB; "));
        return text.Append(Invariant($"driver {machine.Driver}; {machine.Compiler}; commit {machine.Commit}; {machine.Date:yyyy-MM-dd HH:mm} UTC; `{machine.CommandLine}`.\n\n"));
    }

    private static (string Name, double Size) Unit(KernelTime k) => k.IsBoundByOperations
        ? (k.Format.Contains("a8", StringComparison.Ordinal) && !k.Kernel.StartsWith("attention", StringComparison.Ordinal) ? "TOP/s" : "TFLOP/s", 1e12)
        : ("GB/s", 1e9);

    private static string Mode(StepTime step) => step.UsesGraph ? "graph" : "no graph";

    private static string Micro(double milliseconds) => Number(1000 * milliseconds, "f1");

    private static string Number(double? value, string format, string none = "") => value?.ToString(format, CultureInfo.InvariantCulture) ?? none;

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);

    /// <summary>Cells as text.</summary>
    private static string[] Line(params object[] cells) => Array.ConvertAll(cells, cell => Convert.ToString(cell, CultureInfo.InvariantCulture)!);

    /// <summary>Lines as CSV (RFC 4180, lines ended by a line feed).</summary>
    private static string Text(IEnumerable<IReadOnlyList<string>> lines) => string.Concat(lines.Select(line => string.Join(',', line.Select(Cell)) + "\n"));

    private static string Cell(string text) => text.AsSpan().ContainsAny(",\"\n") ? $"\"{text.Replace("\"", "\"\"", StringComparison.Ordinal)}\"" : text;
}

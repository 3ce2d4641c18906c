using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;

namespace DiTRuntime.Bench.Serve;

/// <summary>Writes what was measured: serve.md for people, serve.json for programs.</summary>
internal static class ResultFiles
{
    private static readonly JsonSerializerOptions s_json = new() { WriteIndented = true };

    /// <summary>Writes both.</summary>
    public static void Write(string folder, IReadOnlyList<Measurement> measurements)
    {
        Directory.CreateDirectory(folder);
        var machine = Machine();
        var page = new StringBuilder($"# dit serve under load\n\n{machine}. Digit model, CPU backend. Written by `bench/serve/run.sh`.\n");
        foreach (var one in measurements)
        {
            page.Append(CultureInfo.InvariantCulture, $"\n## {one.Name}: {(one.IsMet ? "met" : "NOT met")}\n\nBar: {one.Bar}.\n\n{one.Load}.\n\n| | |\n|---|---:|\n");
            foreach (var (name, value) in one.Numbers) page.Append(CultureInfo.InvariantCulture, $"| {name} | {Text(value)} |\n");
        }

        File.WriteAllText(Path.Combine(folder, "serve.md"), page.ToString());
        File.WriteAllText(Path.Combine(folder, "serve.json"), JsonSerializer.Serialize(new { machine, measurements }, s_json) + "\n");
        Console.Write(page);
    }

    private static string Machine()
    {
        var model = File.ReadLines("/proc/cpuinfo").FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal))?.Split(':')[1].Trim() ?? "unknown processor";
        return $"{model}, {Environment.ProcessorCount} cores, {RuntimeInformation.OSDescription.Split(' ')[0]}, {RuntimeInformation.FrameworkDescription}";
    }

    private static string Text(double value) => value.ToString(value >= 1000 || value == Math.Truncate(value) ? "#,0" : value >= 10 ? "0.0" : "0.000", CultureInfo.InvariantCulture);
}

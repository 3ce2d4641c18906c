using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace DiTRuntime.Bench.Serve;

/// <summary>The files that <c>dit generate</c> writes: image i is of class i mod 10 with seed i. Whatever the service answers is compared with them byte for byte.</summary>
internal sealed class ExpectedImages
{
    /// <summary>Classes of the digit model.</summary>
    private const int ClassCount = 10;

    private readonly byte[][] _files;

    private ExpectedImages(byte[][] files, int steps, double scale) => (_files, Steps, Scale) = (files, steps, scale);

    /// <summary>Number of images.</summary>
    public int Count => _files.Length;

    /// <summary>Sampling steps.</summary>
    public int Steps { get; }

    /// <summary>Guidance scale.</summary>
    public double Scale { get; }

    /// <summary>Makes them.</summary>
    /// <param name="dit">Path of dit.dll.</param>
    /// <param name="count">How many.</param>
    /// <param name="steps">Sampling steps.</param>
    /// <param name="scale">Guidance scale.</param>
    public static ExpectedImages Make(string dit, int count, int steps, double scale)
    {
        var folder = Directory.CreateTempSubdirectory("serve-bench-");
        try
        {
            Offline(dit, count, steps, scale, ["--out", folder.FullName]);
            return new ExpectedImages([.. Enumerable.Range(0, count).Select(i => File.ReadAllBytes(Path.Combine(folder.FullName, $"{i:D6}.png")))], steps, scale);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    /// <summary>Runs <c>dit generate</c>.</summary>
    /// <returns>Seconds of sampling, decoding and writing: all but the loading.</returns>
    public static double Offline(string dit, int count, int steps, double scale, string[] flags)
    {
        string[] words =
        [
            dit, "generate", "--backend", "cpu", "--json", "--class-labels", "all", "--seed", "0", "--count", Text(count), "--steps", Text(steps), "--cfg-scale", Text(scale), .. flags,
        ];
        using var process = Process.Start(new ProcessStartInfo("dotnet", words) { RedirectStandardOutput = true })!;
        var text = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0) throw new InvalidOperationException($"dit generate ended with {process.ExitCode}");
        using var json = JsonDocument.Parse(text);
        var seconds = json.RootElement.GetProperty("seconds");
        return seconds.GetProperty("sampling").GetDouble() + seconds.GetProperty("decode").GetDouble() + seconds.GetProperty("write").GetDouble();
    }

    /// <summary>The body of a request for some images in a row.</summary>
    public string Body(int first, int count) => JsonSerializer.Serialize(new Dictionary<string, object>
    {
        ["class_labels"] = Enumerable.Range(first, count).Select(i => i % ClassCount).ToArray(),
        ["n"] = count,
        ["seed"] = first,
        ["steps"] = Steps,
        ["guidance_scale"] = Scale,
    });

    /// <summary>Whether an answer holds just these images.</summary>
    public bool Matches(JsonElement answer, int first, int count)
    {
        var data = answer.GetProperty("data");
        if (data.GetArrayLength() != count) return false;
        for (var i = 0; i < count; i++)
        {
            if (data[i].GetProperty("seed").GetInt64() != first + i || !data[i].GetProperty("b64_json").GetBytesFromBase64().AsSpan().SequenceEqual(_files[first + i])) return false;
        }

        return true;
    }

    private static string Text(IFormattable value) => value.ToString(null, CultureInfo.InvariantCulture);
}

using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using DiTRuntime.Exporter.Files;
using DiTRuntime.Exporter.Planning;

namespace DiTRuntime.Exporter.Cuda;

/// <summary>What the player holds on a GPU and beside it.</summary>
/// <param name="Header">The file's header.</param>
/// <param name="Plans">The plan of each architecture.</param>
internal sealed record CudaMemory(FileHeader Header, IReadOnlyList<(string Architecture, RecordedPlan Plan)> Plans) : IMemoryPlan
{
    /// <summary>Steps and generators of random numbers (sizes of dit_step and dit_random); the context, the player and what the allocator adds, nearly.</summary>
    private const long StepBytes = 28, GeneratorBytes = 2512, FixedBytes = 16_384;

    /// <summary>The most that is allocated beside the mapped weights, on any of the architectures.</summary>
    public long MemoryBytes => Plans.Max(entry => MemoryBytesOf(entry.Plan));

    /// <inheritdoc/>
    public JsonObject Json() => new()
    {
        ["image_size"] = Header.InputSize * Header.Upscale,
        ["batch"] = Header.MaxBatch,
        ["tile_size"] = Header.TileSize,
        ["table_rows"] = Header.TableRows,
        ["weight_bytes"] = Header.FileBytes,
        ["memory_bytes"] = MemoryBytes,
        ["memory"] = new JsonObject(Plans.Select(entry => KeyValuePair.Create(
            entry.Architecture,
            (JsonNode?)new JsonArray([.. Parts(entry.Plan).Select(part => (JsonNode)new JsonObject { ["part"] = part.Name, ["bytes"] = part.Bytes, ["shared"] = part.Shared })])))),
    };

    /// <inheritdoc/>
    public string Markdown()
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"Planned for images of {Header.InputSize * Header.Upscale}x{Header.InputSize * Header.Upscale}, {Header.MaxBatch} at a time:\n\n| | MB |\n|---|---|\n");
        text.Append(CultureInfo.InvariantCulture, $"| weights, mapped: the system drops them once they are on the GPU | {Megabytes((long)Header.FileBytes)} |\n");
        foreach (var (architecture, plan) in Plans)
        {
            foreach (var (name, bytes, shared) in Parts(plan)) text.Append(CultureInfo.InvariantCulture, $"| {architecture}: {name}{(shared ? " (one of these at a time)" : "")} | {Megabytes(bytes)} |\n");
            text.Append(CultureInfo.InvariantCulture, $"| {architecture}: allocated beside the mapped weights | {Megabytes(MemoryBytesOf(plan))} |\n");
        }

        return text.Append("\n`build/dit info .` shows it.").ToString();
    }

    /// <inheritdoc/>
    public IEnumerable<string> Lines()
    {
        yield return string.Create(CultureInfo.InvariantCulture, $"memory for {Header.InputSize * Header.Upscale}x{Header.InputSize * Header.Upscale}, batch {Header.MaxBatch}, tiles of {Header.TileSize}, {Header.TableRows} table rows:");
        yield return Line("weights, mapped", (long)Header.FileBytes);
        foreach (var (architecture, plan) in Plans)
        {
            foreach (var (name, bytes, shared) in Parts(plan)) yield return Line($"{architecture}: {name}{(shared ? " (one at a time)" : "")}", bytes);
            yield return Line($"{architecture}: allocated beside the weights", MemoryBytesOf(plan));
        }
    }

    /// <summary>The parts under the names that the player gives them.</summary>
    private IEnumerable<(string Name, long Bytes, bool Shared)> Parts(RecordedPlan plan)
    {
        yield return ("host memory", HostBytes(plan), false);
        yield return ("weights and decoder on the GPU", plan.ResidentBytes, false);
        for (var i = 0; i < plan.Shapes.Count; i++)
        {
            var shape = plan.Shapes[i];
            var name = shape.Kind == PlanShapeKind.Pass ? "verification" : shape.Samples > shape.Images ? "guided batch" : "batch";
            yield return (name, plan.ShapeBytes(i), true);
        }
    }

    private long MemoryBytesOf(RecordedPlan plan) => HostBytes(plan) + plan.ResidentBytes + plan.LargestShapeBytes;

    /// <summary>A request's own, and what is copied to and from the GPU.</summary>
    private long HostBytes(RecordedPlan plan)
    {
        long latents = (long)Header.InChannels * Header.InputSize * Header.InputSize, side = Header.InputSize * Header.Upscale, made = Header.TileSize * Header.Upscale;
        var pixels = side * side * Header.ImageChannels;
        var tile = Math.Max(made * made * Header.ImageChannels, (long)Header.TileSize * Header.TileSize * Header.InChannels);
        return FixedBytes + 1000 * StepBytes + Header.MaxBatch * (GeneratorBytes + 4 * latents * sizeof(float)) + (pixels + tile + 2 * made) * sizeof(float)
            + plan.Arguments.Length + plan.StagingBytes;
    }

    private static string Line(string name, long bytes) => $"  {name,-52}{Megabytes(bytes),10} MB";

    private static string Megabytes(long bytes) => (bytes / 1e6).ToString("0.00", CultureInfo.InvariantCulture);
}

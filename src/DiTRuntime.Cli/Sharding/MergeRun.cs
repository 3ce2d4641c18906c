using System.Text.Json.Nodes;
using DiTRuntime.Imaging;

namespace DiTRuntime.Cli.Sharding;

/// <summary>What <c>dit merge</c> does: the parts of a sharded run become the file that the whole run would have written, byte for byte.</summary>
internal sealed class MergeRun(IReadOnlyList<string> words, string output, Session session)
{
    private const int Nobody = -1;

    /// <summary>Runs; the file appears whole or not at all.</summary>
    /// <exception cref="InvalidFileException">A part is damaged or of another run, or images are missing or there twice.</exception>
    /// <exception cref="OutputException">The file cannot be written.</exception>
    public void Execute()
    {
        OutputProbe.Check(output);
        var parts = new List<PartFile>();
        try
        {
            foreach (var path in PartPaths.Expand(words, output)) parts.Add(PartFile.Open(path));
            var owners = Owners(parts);
            session.WithProgress(display => AtomicFile.Write(output, stream => Copy(parts, owners, stream, display)));
            Report(parts);
        }
        finally
        {
            foreach (var part in parts) part.Dispose();
        }
    }

    /// <summary>Which part each image of the run is in.</summary>
    private static int[] Owners(List<PartFile> parts)
    {
        var first = parts[0];
        var owners = new int[first.Description.Run.Count];
        owners.AsSpan().Fill(Nobody);
        for (var p = 0; p < parts.Count; p++)
        {
            var part = parts[p];
            if (first.Description.Run.DifferenceOf(part.Description.Run) is { } difference)
                throw new InvalidFileException(part.Path, $"of another run than {first.Path}: {difference}");
            foreach (var image in part.Indices)
            {
                if (owners[image] != Nobody) throw new InvalidFileException(part.Path, $"image {image} is in {parts[owners[image]].Path} as well");
                owners[image] = p;
            }
        }

        var missing = Array.IndexOf(owners, Nobody);
        return missing < 0 ? owners
            : throw new InvalidFileException(first.Path, $"its run has {owners.Length} images, {owners.Count(owner => owner == Nobody)} of them in no part that was given, such as image {missing}{Hint(parts, missing)}");
    }

    /// <summary>Which shard is to be looked for, where all parts are of one division.</summary>
    private static string Hint(List<PartFile> parts, int missing)
    {
        var total = parts[0].Description.Shard.Total;
        return parts.All(part => part.Description.Shard.Total == total) ? $" (shard {missing % total + 1}/{total})" : string.Empty;
    }

    private void Copy(List<PartFile> parts, int[] owners, Stream stream, IProgressDisplay display)
    {
        var (height, width) = (parts[0].Height, parts[0].Width);
        var image = new Image(width, height, 3, new byte[height * width * 3]);
        using var writer = new NpzWriter(stream, owners.Length, height, width);
        for (var i = 0; i < owners.Length; i++)
        {
            session.Cancellation.ThrowIfCancellationRequested();
            parts[owners[i]].Read(image.Pixels);
            writer.Add(image);
            display.Report("merging", "images", i + 1, owners.Length);
        }

        foreach (var part in parts) part.CheckDigest();
        writer.Complete();
    }

    private void Report(List<PartFile> parts)
    {
        if (!session.Json)
        {
            session.Print(output);
            return;
        }

        session.Print(new JsonObject
        {
            ["file"] = output,
            ["count"] = parts[0].Description.Run.Count,
            ["parts"] = new JsonArray([.. parts.Select(part => (JsonNode)part.Path)]),
            ["run"] = new JsonObject(parts[0].Description.Run.Fields.Select(field => KeyValuePair.Create(field.Name, (JsonNode?)field.Value))),
        });
    }
}

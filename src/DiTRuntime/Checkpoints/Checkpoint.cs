namespace DiTRuntime.Checkpoints;

/// <summary>Opens model files of every supported kind, told apart by what they hold, not by how they are called.</summary>
public static class Checkpoint
{
    private const int SniffedBytes = 16;

    /// <summary>Opens a file or a folder. Nothing but headers is read.</summary>
    /// <param name="path">
    /// A safetensors file, a sharded one's <c>*.index.json</c>, a PyTorch zip (.pt, .pth, .bin), a GGUF v3 file, a diffusers pipeline folder, or a folder
    /// of one of its components.
    /// </param>
    /// <param name="component">Which component's folder to read where the path is a pipeline: "transformer", "vae".</param>
    /// <returns>
    /// The open checkpoint. A component's <c>config.json</c> and the pipeline's <c>model_index.json</c> stand in its metadata, as text, under
    /// their file names.
    /// </returns>
    /// <exception cref="InvalidFileException">The file is missing, damaged, hostile or of another kind.</exception>
    public static ICheckpoint Open(string path, string component = "transformer") =>
        DiffusersFolder.TryLocate(path, component) is { } folder ? folder.Open() : OpenFile(path);

    /// <summary>Opens one weight file, or the index of a sharded one.</summary>
    /// <exception cref="InvalidFileException">The file is missing, damaged, hostile or of another kind.</exception>
    internal static ICheckpoint OpenFile(string path)
    {
        Span<byte> start = stackalloc byte[SniffedBytes];
        using (var file = MappedFile.Open(path))
        {
            var length = (int)Math.Min(SniffedBytes, file.Length);
            file.Slice(0, length).CopyTo(start);
            start = start[..length];
        }

        if (start.StartsWith("PK\x03\x04"u8) || start.StartsWith("PK\x05\x06"u8)) return PyTorchFile.Open(path);
        if (start.StartsWith("GGUF"u8)) return GgufFile.Open(path);
        if (path.EndsWith(".json", StringComparison.OrdinalIgnoreCase)) return ShardedSafetensors.Open(path);
        if (start.Length > sizeof(ulong) && start[sizeof(ulong)] == '{') return SafetensorsFile.Open(path);
        // Too damaged to show what it is: the reader of its name says what is wrong.
        if (path.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase)) return SafetensorsFile.Open(path);
        // PROTO, then a protocol: the pickle of torch < 1.6 stands bare in the file.
        if (start is [0x80, >= 1 and <= 5, ..])
            throw new InvalidFileException(path, "a pickle outside a zip archive, as torch before 1.6 wrote it; load it and save it again with torch 1.6 or later");
        throw new InvalidFileException(path, "not a model file: safetensors, a PyTorch zip (.pt), GGUF v3, or a diffusers folder was expected");
    }
}

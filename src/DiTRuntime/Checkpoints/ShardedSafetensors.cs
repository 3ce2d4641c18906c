using System.Text.Json;

namespace DiTRuntime.Checkpoints;

/// <summary>
/// Reads a checkpoint split over several safetensors files: <c>*.safetensors.index.json</c> maps each tensor to a file beside it.
/// The index and the files must agree.
/// </summary>
internal static class ShardedSafetensors
{
    private const int MaxShards = 1024;

    /// <exception cref="InvalidFileException">The index or a shard is wrong, or they disagree.</exception>
    public static ICheckpoint Open(string path)
    {
        var weightMap = ReadIndex(path);
        var folder = System.IO.Path.GetDirectoryName(path) ?? "";
        var shards = new Dictionary<string, ICheckpoint>(StringComparer.Ordinal);
        try
        {
            foreach (var name in weightMap.Values.Distinct(StringComparer.Ordinal))
            {
                if (shards.Count == MaxShards) throw new InvalidFileException(path, $"the index names more than {MaxShards} files");
                CheckShardName(path, name);
                shards.Add(name, SafetensorsFile.Open(System.IO.Path.Combine(folder, name)));
            }

            return Join(path, weightMap, shards);
        }
        catch
        {
            foreach (var shard in shards.Values) shard.Dispose();
            throw;
        }
    }

    private static CheckpointFile Join(string path, Dictionary<string, string> weightMap, Dictionary<string, ICheckpoint> shards)
    {
        foreach (var (tensor, shard) in weightMap)
        {
            if (!shards[shard].TryGet(tensor, out _))
                throw new InvalidFileException(path, $"the index places tensor {tensor} in {shard}, which does not hold it");
        }

        var tensors = new List<CheckpointTensor>(weightMap.Count);
        var metadata = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var (name, shard) in shards)
        {
            foreach (var tensor in shard.Tensors)
            {
                if (!weightMap.TryGetValue(tensor.Name, out var home) || home != name)
                    throw new InvalidFileException(path, $"{name} holds tensor {tensor.Name}, which the index does not place there");
                tensors.Add(tensor);
            }

            foreach (var (key, value) in shard.Metadata) metadata.TryAdd(key, value);
        }

        return new CheckpointFile(path, $"safetensors, {shards.Count} shards", tensors, metadata, [.. shards.Values]);
    }

    private static Dictionary<string, string> ReadIndex(string path)
    {
        using var file = MappedFile.Open(path);
        if (file.Length > TensorRules.MaxMetadataBytes)
            throw new InvalidFileException(path, $"the index has {file.Length} bytes; at most {TensorRules.MaxMetadataBytes} are read");
        var weightMap = new Dictionary<string, string>(StringComparer.Ordinal);
        var found = false;
        try
        {
            var reader = new Utf8JsonReader(file.Slice(0, (int)file.Length));
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject) throw new InvalidFileException(path, "the index is not a JSON object");
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var isMap = reader.ValueTextEquals("weight_map"u8);
                if (isMap && found) throw new InvalidFileException(path, "the index holds two weight_map");
                found |= isMap;
                reader.Read();
                if (isMap) ReadWeightMap(path, ref reader, weightMap);
                else reader.Skip();
            }

            reader.Read();
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new InvalidFileException(path, $"the index is not valid JSON ({TensorRules.Printable(e.Message)})", e);
        }

        if (weightMap.Count == 0) throw new InvalidFileException(path, "the index has no weight_map that names tensors");
        return weightMap;
    }

    private static void ReadWeightMap(string path, ref Utf8JsonReader reader, Dictionary<string, string> weightMap)
    {
        if (reader.TokenType != JsonTokenType.StartObject) throw new InvalidFileException(path, "the weight_map is not an object");
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var tensor = reader.GetString()!;
            TensorRules.CheckName(path, tensor);
            TensorRules.CheckTensorCount(path, (ulong)weightMap.Count + 1);
            reader.Read();
            if (reader.TokenType != JsonTokenType.String) throw new InvalidFileException(path, $"the weight_map gives no file for tensor {tensor}");
            if (!weightMap.TryAdd(tensor, reader.GetString()!)) throw new InvalidFileException(path, $"the weight_map names tensor {tensor} twice");
        }
    }

    /// <summary>A shard lies beside its index: the index must not reach anywhere else.</summary>
    private static void CheckShardName(string path, string name)
    {
        if (name.Length is 0 or > 255 || name is "." or ".." || name.AsSpan().IndexOfAny("/\\:\0") >= 0 || TensorRules.Printable(name).Length != name.Length)
            throw new InvalidFileException(path, $"the index names the file {TensorRules.Printable(name)}; a plain file name beside the index was expected");
    }
}

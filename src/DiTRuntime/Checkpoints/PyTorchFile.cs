namespace DiTRuntime.Checkpoints;

/// <summary>
/// Reads what <c>torch.save</c> writes since version 1.6: a zip archive with a pickle that describes the tensors and one stored entry per
/// storage. The state dict is the root itself, or its part "ema" (training checkpoints of DiT), "model" or "state_dict", in this order.
/// </summary>
internal static class PyTorchFile
{
    private const string PickleName = "/data.pkl";

    private static readonly string[] s_parts = ["ema", "model", "state_dict"];

    /// <exception cref="InvalidFileException">Anything about the file is wrong.</exception>
    public static ICheckpoint Open(string path) => CheckpointFile.Open(path, Read);

    private static CheckpointFile Read(MappedFile file)
    {
        var entries = ZipDirectory.Read(file);
        var pickle = FindPickle(file.Path, entries);
        var root = pickle.Name[..^PickleName.Length];
        CheckByteOrder(file, entries, root);
        var (state, part) = FindState(file.Path, PickleMachine.Run(file, pickle.Offset, pickle.Length));
        TensorRules.CheckTensorCount(file.Path, (ulong)state.Items.Count);
        var tensors = new List<CheckpointTensor>(state.Items.Count);
        foreach (var (key, value) in state.Items)
        {
            if (key is not string name) throw new InvalidFileException(file.Path, "the state dict has a key that is not text");
            TensorRules.CheckName(file.Path, name);
            tensors.Add(value is PickleTensor tensor
                ? Locate(file, entries, root, name, tensor)
                : throw new InvalidFileException(file.Path, $"entry {name} of the state dict is not a tensor"));
        }

        return new CheckpointFile(file.Path, part is null ? "PyTorch zip" : $"PyTorch zip ({part})", tensors, new Dictionary<string, string>(), file);
    }

    private static ZipEntry FindPickle(string path, Dictionary<string, ZipEntry> entries)
    {
        ZipEntry[] pickles = [.. entries.Values.Where(e => e.Name.EndsWith(PickleName, StringComparison.Ordinal) && e.Name.IndexOf('/', StringComparison.Ordinal) == e.Name.Length - PickleName.Length)];
        return pickles.Length == 1
            ? pickles[0]
            : throw new InvalidFileException(path, $"a zip archive with {pickles.Length} entries */data.pkl; PyTorch writes exactly one");
    }

    private static void CheckByteOrder(MappedFile file, Dictionary<string, ZipEntry> entries, string root)
    {
        if (entries.TryGetValue($"{root}/byteorder", out var order)
            && !(order.Length < 16 && file.Slice(order.Offset, (int)order.Length).TrimEnd("\r\n "u8).SequenceEqual("little"u8)))
        {
            throw new InvalidFileException(file.Path, "the tensors are not little-endian (entry byteorder)");
        }
    }

    private static (PickleDictionary State, string? Part) FindState(string path, object? root)
    {
        if (root is not PickleDictionary dictionary)
            throw new InvalidFileException(path, "the pickle describes something other than a state dict; save the model's state_dict()");
        foreach (var part in s_parts)
        {
            if (dictionary[part] is PickleDictionary state) return (state, part);
        }

        return (dictionary, null);
    }

    private static CheckpointTensor Locate(MappedFile file, Dictionary<string, ZipEntry> entries, string root, string name, PickleTensor tensor)
    {
        var storage = tensor.Storage;
        var type = PickleGlobals.TypeOf(storage)
            ?? throw new InvalidFileException(file.Path, $"tensor {name} lies in a {TensorRules.Printable(storage.TypeName)}, which is not supported");
        if (!entries.TryGetValue($"{root}/data/{storage.Key}", out var entry))
            throw new InvalidFileException(file.Path, $"tensor {name}: the archive has no entry data/{TensorRules.Printable(storage.Key)}");
        if (storage.ElementCount != entry.Length / type.ByteSize() || entry.Length % type.ByteSize() != 0)
        {
            throw new InvalidFileException(
                file.Path, $"tensor {name}: the storage claims {storage.ElementCount} elements of {type}, its entry has {entry.Length} bytes");
        }

        var (shape, byteCount) = TensorRules.CheckShape(file.Path, name, type, tensor.Shape);
        CheckExtent(file.Path, name, tensor, shape, byteCount / type.ByteSize());
        return new CheckpointTensor(file, name, type, shape, entry.Offset + tensor.Offset * type.ByteSize(), tensor.Strides);
    }

    private static void CheckExtent(string path, string name, PickleTensor tensor, int[] shape, int count)
    {
        var view = $"tensor {name}: the view of shape {TensorRules.Text<int>(shape)}, strides {TensorRules.Text<long>(tensor.Strides)}, offset {tensor.Offset}";
        if (tensor.Strides.Length != shape.Length) throw new InvalidFileException(path, $"{view} has another number of strides than dimensions");
        var length = tensor.Storage.ElementCount;
        var inside = tensor.Offset >= 0 && tensor.Offset <= length;
        var last = tensor.Offset;
        for (var i = 0; i < shape.Length && inside && count > 0; i++)
        {
            var stride = tensor.Strides[i];
            inside = stride >= 0 && (shape[i] == 1 || stride <= (length - last) / (shape[i] - 1));
            if (shape[i] > 1) last += stride * (shape[i] - 1);
        }

        // A view that repeats elements (stride 0) would be larger than the file; nobody saves weights so.
        if (!inside || (count > 0 && last >= length) || count > length)
            throw new InvalidFileException(path, $"{view} does not fit its storage of {length} elements");
    }
}

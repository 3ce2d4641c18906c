using System.Runtime.InteropServices;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Calibration.Training;

/// <summary>Arrays on their way to a file, or back into the arrays that they came from: whoever has a state names its arrays once for both ways.</summary>
internal sealed class TrainingState
{
    private readonly string _path;
    private readonly List<(TensorDescription Description, Action<Stream> Write)> _written = [];
    private readonly ICheckpoint? _read;

    private TrainingState(string path, ICheckpoint? read) => (_path, _read) = (path, read);

    /// <summary>Whether the arrays are filled from a file.</summary>
    public bool IsLoading => _read is not null;

    /// <summary>Writes a state, whole or not at all.</summary>
    /// <param name="path">Where to.</param>
    /// <param name="facts">Where the training stands.</param>
    /// <param name="exchange">Names the arrays.</param>
    /// <exception cref="OutputException">The file cannot be written.</exception>
    public static void Save(string path, IReadOnlyDictionary<string, string> facts, Action<TrainingState> exchange)
    {
        var state = new TrainingState(path, read: null);
        exchange(state);
        var writers = state._written.ToDictionary(tensor => tensor.Description.Name, tensor => tensor.Write, StringComparer.Ordinal);
        AtomicFile.Write(path, stream => SafetensorsWriter.Write(stream, facts, [.. state._written.Select(tensor => tensor.Description)], (tensor, output) => writers[tensor.Name](output)));
    }

    /// <summary>Reads a state.</summary>
    /// <param name="path">Where from.</param>
    /// <param name="exchange">Looks at where the training stands, and names the arrays.</param>
    /// <exception cref="InvalidFileException">The file is damaged, or is the state of something else.</exception>
    public static void Load(string path, Action<IReadOnlyDictionary<string, string>, TrainingState> exchange)
    {
        using var checkpoint = Checkpoint.Open(path);
        try
        {
            exchange(checkpoint.Metadata, new TrainingState(path, checkpoint));
        }
        catch (Exception e) when (e is FormatException or KeyNotFoundException or OverflowException)
        {
            throw new InvalidFileException(path, "not the state of a training; remove the folder to start anew", e);
        }
    }

    /// <summary>Takes an array there or back.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <param name="values">The array.</param>
    public void Exchange<T>(string name, T[] values)
        where T : unmanaged => Exchange(name, values.Length, () => values);

    /// <summary>Takes memory there or back.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <param name="count">Its elements.</param>
    /// <param name="values">Gives the memory.</param>
    public void Exchange<T>(string name, int count, SpanOf<T> values)
        where T : unmanaged
    {
        var description = new TensorDescription(name, TypeOf<T>(), [count]);
        if (_read is null)
        {
            _written.Add((description, stream => stream.Write(MemoryMarshal.AsBytes(values()))));
            return;
        }

        if (!_read.TryGet(name, out var tensor) || tensor.Type != description.Type || tensor.ByteCount != description.ByteCount)
            throw new InvalidFileException(_path, $"no tensor {name} of {count} {description.Type} values; remove the folder to start anew");
        tensor.Bytes.CopyTo(MemoryMarshal.AsBytes(values()));
    }

    private static ElementType TypeOf<T>() =>
        typeof(T) == typeof(float) ? ElementType.F32 : typeof(T) == typeof(double) ? ElementType.F64 : typeof(T) == typeof(int) ? ElementType.I32 : typeof(T) == typeof(ushort) ? ElementType.U16 : typeof(T) == typeof(bool) ? ElementType.Bool
        : throw new ArgumentException($"no tensor holds {typeof(T)}");
}

/// <summary>Gives memory.</summary>
internal delegate Span<T> SpanOf<T>();

using System.Buffers.Binary;

namespace DiTRuntime.Cuda.Devices;

/// <summary>
/// Passes everything to another device and writes down what is launched: the plan that the exporter replays, and a list that tests compare.
/// </summary>
/// <remarks>
/// Addresses become numbers of buffers and offsets, so the list is the same in every run. Commands inside a capture belong to the graph and not to
/// <see cref="Commands"/>. Used from one thread. Disposing it disposes the device it wraps.
/// </remarks>
public sealed class RecordingDevice : IGpuDevice
{
    private readonly IGpuDevice _inner;
    private readonly List<RecordedCommand> _commands = [];
    private readonly List<IReadOnlyList<RecordedCommand>> _graphs = [];
    private readonly List<long> _buffers = [];
    private readonly SortedList<ulong, (int Number, long ByteCount)> _live = [];
    private List<RecordedCommand> _current;
    private int _pinned, _streams, _events;

    /// <param name="inner">Runs the work.</param>
    public RecordingDevice(IGpuDevice inner)
    {
        _inner = inner;
        _current = _commands;
    }

    /// <summary>What was called, outside of captures, in order.</summary>
    public IReadOnlyList<RecordedCommand> Commands => _commands;

    /// <summary>The commands of every graph captured so far.</summary>
    public IReadOnlyList<IReadOnlyList<RecordedCommand>> Graphs => _graphs;

    /// <summary>Lengths in bytes of all device buffers reserved so far, those given back included; the index is a buffer's number.</summary>
    public IReadOnlyList<long> Buffers => _buffers;

    /// <inheritdoc/>
    public GpuProperties Properties => _inner.Properties;

    /// <inheritdoc/>
    public bool HoldsData => _inner.HoldsData;

    /// <inheritdoc/>
    public GpuMemory Memory => _inner.Memory;

    /// <inheritdoc/>
    public GpuBuffer Allocate(long byteCount)
    {
        var buffer = _inner.Allocate(byteCount);
        var address = buffer.Pointer.Address;
        _live[address] = (_buffers.Count, byteCount);
        _buffers.Add(byteCount);
        return new RecordingBuffer(buffer, () => _live.Remove(address));
    }

    /// <inheritdoc/>
    public PinnedBuffer AllocatePinned(long byteCount) => new RecordingPinnedBuffer(_inner.AllocatePinned(byteCount), _pinned++);

    /// <inheritdoc/>
    public GpuModule Load(KernelImage image) => new RecordingModule(_inner.Load(image), image.Title);

    /// <inheritdoc/>
    public GpuStream CreateStream() => new RecordingStream(this, _inner.CreateStream(), _streams++);

    /// <inheritdoc/>
    public GpuEvent CreateEvent() => new RecordingEvent(_inner.CreateEvent(), _events++);

    /// <summary>Forgets the commands so far; buffers and graphs keep their numbers.</summary>
    public void Clear() => _commands.Clear();

    /// <summary>Everything as lines that are the same in every run: buffers, graphs with their commands, commands.</summary>
    public IEnumerable<string> Dump()
    {
        for (var i = 0; i < _buffers.Count; i++) yield return $"buffer b{i} bytes {_buffers[i]}";
        for (var i = 0; i < _graphs.Count; i++)
        {
            yield return $"graph g{i}";
            foreach (var command in _graphs[i]) yield return "  " + command;
        }

        foreach (var command in _commands) yield return command.ToString();
    }

    /// <inheritdoc/>
    public void Dispose() => _inner.Dispose();

    internal void Add(RecordedCommand command) => _current.Add(command);

    /// <summary>Lets commands go to a new graph while something runs.</summary>
    /// <returns>The graph's number; none is taken where <paramref name="capture"/> throws.</returns>
    internal (T Graph, int Number) Capture<T>(Func<T> capture)
    {
        var commands = _current = [];
        try
        {
            var graph = capture();
            _graphs.Add(commands);
            return (graph, _graphs.Count - 1);
        }
        finally
        {
            _current = _commands;
        }
    }

    /// <summary>Where an address lies. The end of a buffer belongs to it unless another begins there.</summary>
    internal RecordedPlace Place(ulong address)
    {
        if (address == 0) return new RecordedPlace(RecordedPlace.Null, 0);
        var (from, to) = (0, _live.Count);
        while (from < to)
        {
            var middle = (from + to) / 2;
            if (_live.Keys[middle] <= address) from = middle + 1;
            else to = middle;
        }

        if (from == 0) return new RecordedPlace(RecordedPlace.Foreign, 0);
        var (number, byteCount) = _live.Values[from - 1];
        var offset = (long)(address - _live.Keys[from - 1]);
        return offset <= byteCount ? new RecordedPlace(number, offset) : new RecordedPlace(RecordedPlace.Foreign, 0);
    }

    /// <summary>Takes the pointers out of an argument struct.</summary>
    /// <param name="arguments">The struct's bytes; zeros take the pointers' place.</param>
    /// <param name="pointerOffsets">Where they are.</param>
    internal RecordedPointer[] TakePointers(byte[] arguments, ReadOnlySpan<int> pointerOffsets)
    {
        var pointers = new RecordedPointer[pointerOffsets.Length];
        for (var i = 0; i < pointers.Length; i++)
        {
            var bytes = arguments.AsSpan(pointerOffsets[i], sizeof(ulong));
            pointers[i] = new RecordedPointer(pointerOffsets[i], Place(BinaryPrimitives.ReadUInt64LittleEndian(bytes)));
            bytes.Clear();
        }

        return pointers;
    }
}

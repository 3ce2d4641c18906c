using System.Text;

namespace DiTRuntime.Cuda.Devices;

/// <summary>A place in memory without its address: a buffer's number, and bytes from its beginning.</summary>
/// <param name="Buffer">Number of the buffer in <see cref="RecordingDevice.Buffers"/> (device memory) or of the page-locked buffer; <see cref="Null"/> and <see cref="Foreign"/> are none.</param>
/// <param name="Offset">Bytes.</param>
public readonly record struct RecordedPlace(int Buffer, long Offset)
{
    /// <summary>The null pointer.</summary>
    public const int Null = -1;

    /// <summary>An address in no buffer of the device: such a plan cannot be replayed.</summary>
    public const int Foreign = -2;

    /// <inheritdoc/>
    public override string ToString() => Buffer switch
    {
        Null => "null",
        Foreign => "foreign",
        _ => $"b{Buffer}+{Offset}",
    };
}

/// <summary>A pointer in an argument struct.</summary>
/// <param name="ArgumentOffset">Where its eight bytes lie in the struct.</param>
/// <param name="Target">What it points to.</param>
public readonly record struct RecordedPointer(int ArgumentOffset, RecordedPlace Target);

/// <summary>One call into a stream.</summary>
/// <param name="Stream">Number of the stream, in order of creation.</param>
public abstract record RecordedCommand(int Stream)
{
    /// <summary>The command on one line, the same in every run: no addresses.</summary>
    public abstract string Text { get; }

    /// <inheritdoc/>
    public sealed override string ToString() => $"s{Stream} {Text}";
}

/// <summary>A kernel's launch.</summary>
/// <param name="Stream">Number of the stream.</param>
/// <param name="Module">Title of what was compiled: the kernel's specification.</param>
/// <param name="Kernel">Its entry.</param>
/// <param name="Shape">Blocks and threads.</param>
/// <param name="Arguments">The argument struct with zeros where pointers are.</param>
/// <param name="Pointers">What the pointers are, in ascending order of their offsets.</param>
public sealed record RecordedLaunch(
    int Stream, string Module, string Kernel, LaunchShape Shape, byte[] Arguments, IReadOnlyList<RecordedPointer> Pointers) : RecordedCommand(Stream)
{
    /// <inheritdoc/>
    public override string Text =>
        $"launch {Kernel} [{Module}] grid {Shape.GridX}x{Shape.GridY}x{Shape.GridZ} threads {Shape.Threads} shared {Shape.SharedBytes} args {ArgumentText()}";

    // Pointers by place, all other bytes in hexadecimal, in the struct's order.
    private string ArgumentText()
    {
        var text = new StringBuilder();
        var at = 0;
        foreach (var (offset, target) in Pointers)
        {
            Bytes(offset);
            text.Append('<').Append(target).Append('>');
            at = offset + sizeof(ulong);
        }

        Bytes(Arguments.Length);
        return text.ToString();

        void Bytes(int end) => text.Append(Convert.ToHexStringLower(Arguments, at, end - at));
    }
}

/// <summary>A copy from page-locked host memory to the device.</summary>
/// <param name="Stream">Number of the stream.</param>
/// <param name="Source">In a page-locked buffer.</param>
/// <param name="Destination">In device memory.</param>
/// <param name="ByteCount">Bytes.</param>
public sealed record RecordedUpload(int Stream, RecordedPlace Source, RecordedPlace Destination, long ByteCount) : RecordedCommand(Stream)
{
    /// <inheritdoc/>
    public override string Text => $"upload host {Source} to {Destination} bytes {ByteCount}";
}

/// <summary>A copy from the device to page-locked host memory.</summary>
/// <param name="Stream">Number of the stream.</param>
/// <param name="Source">In device memory.</param>
/// <param name="Destination">In a page-locked buffer.</param>
/// <param name="ByteCount">Bytes.</param>
public sealed record RecordedDownload(int Stream, RecordedPlace Source, RecordedPlace Destination, long ByteCount) : RecordedCommand(Stream)
{
    /// <inheritdoc/>
    public override string Text => $"download {Source} to host {Destination} bytes {ByteCount}";
}

/// <summary>A copy inside the device.</summary>
/// <param name="Stream">Number of the stream.</param>
/// <param name="Source">From.</param>
/// <param name="Destination">To.</param>
/// <param name="ByteCount">Bytes.</param>
public sealed record RecordedCopy(int Stream, RecordedPlace Source, RecordedPlace Destination, long ByteCount) : RecordedCommand(Stream)
{
    /// <inheritdoc/>
    public override string Text => $"copy {Source} to {Destination} bytes {ByteCount}";
}

/// <summary>Every byte set.</summary>
/// <param name="Stream">Number of the stream.</param>
/// <param name="Destination">In device memory.</param>
/// <param name="Value">The byte.</param>
/// <param name="ByteCount">Bytes.</param>
public sealed record RecordedFill(int Stream, RecordedPlace Destination, byte Value, long ByteCount) : RecordedCommand(Stream)
{
    /// <inheritdoc/>
    public override string Text => $"fill {Destination} value {Value} bytes {ByteCount}";
}

/// <summary>A mark set.</summary>
/// <param name="Stream">Number of the stream.</param>
/// <param name="Event">Number of the event, in order of creation.</param>
public sealed record RecordedMark(int Stream, int Event) : RecordedCommand(Stream)
{
    /// <inheritdoc/>
    public override string Text => $"mark e{Event}";
}

/// <summary>A mark waited for by a stream.</summary>
/// <param name="Stream">Number of the stream.</param>
/// <param name="Event">Number of the event.</param>
public sealed record RecordedWait(int Stream, int Event) : RecordedCommand(Stream)
{
    /// <inheritdoc/>
    public override string Text => $"wait e{Event}";
}

/// <summary>A graph replayed.</summary>
/// <param name="Stream">Number of the stream.</param>
/// <param name="Graph">Number of the graph in <see cref="RecordingDevice.Graphs"/>.</param>
public sealed record RecordedReplay(int Stream, int Graph) : RecordedCommand(Stream)
{
    /// <inheritdoc/>
    public override string Text => $"replay g{Graph}";
}

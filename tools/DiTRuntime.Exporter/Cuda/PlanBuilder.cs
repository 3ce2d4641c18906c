using DiTRuntime.Cuda;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Decoding;

namespace DiTRuntime.Exporter.Cuda;

/// <summary>Turns recorded commands into a plan: numbers instead of names, and only what something uses.</summary>
/// <param name="memory">What lies in the buffers.</param>
/// <param name="device">Knows the buffers by their addresses.</param>
/// <param name="specs">The kernels that were asked for.</param>
internal sealed class PlanBuilder(PlanningDevice memory, RecordingDevice device, IReadOnlyList<KernelSpec> specs)
{
    private const int ArgumentAlignment = 16;

    private readonly Dictionary<string, KernelSpec> _specs = specs.ToDictionary(spec => spec.Text);
    private readonly Dictionary<string, int> _kernelNumbers = [];
    private readonly List<RecordedKernel> _kernels = [];
    private readonly List<PlanCommand> _commands = [];
    private readonly List<PlanPointer> _pointers = [];
    private readonly List<byte> _arguments = [];
    private readonly List<PlanShape> _shapes = [];
    // By the recorder's numbers: the shapes that use a buffer (−1: the decoder), and the buffers that the host fills.
    private readonly SortedDictionary<int, HashSet<int>> _users = [];
    private readonly HashSet<int> _written = [];
    private RecordedDecoder _decoder = RecordedDecoder.None;

    /// <summary>Adds a batch shape.</summary>
    /// <param name="number">Its number.</param>
    /// <param name="run">What it does.</param>
    /// <param name="record">Records some work, which is given what marks a stage.</param>
    public void Add(int number, ShapeRun run, Func<Action<Action>, List<RecordedCommand?>> record)
    {
        var fill = AddCommands(number, record(_ => run.Fill()));
        var step = AddCommands(number, record(run.Step));
        _shapes.Add(run.WithPlaces((address, bytes) => Place(number, device.Place(address), bytes)) with { Fill = fill, Step = step });
    }

    /// <summary>Adds the decoder: the first upload is its input, the first download its output.</summary>
    public void AddDecoder(List<RecordedCommand?> commands, IImageDecoder decoder, int tileSide)
    {
        var (inputStride, outputStride) = (CudaTensor.AlignedWidth(decoder.LatentChannels), CudaTensor.AlignedWidth(decoder.ImageChannels));
        var positions = (long)tileSide * tileSide;
        // A device without data copies none.
        var input = commands.OfType<RecordedUpload>().FirstOrDefault()?.Destination;
        var output = commands.OfType<RecordedDownload>().FirstOrDefault()?.Source;
        _decoder = new RecordedDecoder(
            AddCommands(-1, commands),
            PlaceOr(input, positions * inputStride * sizeof(ushort)),
            inputStride,
            PlaceOr(output, positions * decoder.UpscaleFactor * decoder.UpscaleFactor * outputStride * sizeof(ushort)),
            outputStride);

        PlanPlace PlaceOr(RecordedPlace? place, long byteCount) => place is { } known ? Place(-1, known, byteCount) : PlanPlace.None with { Bytes = (ulong)byteCount };
    }

    /// <summary>The plan.</summary>
    public RecordedPlan Build()
    {
        // Buffers that nothing uses are left out, so all get new numbers.
        var numbers = _users.Keys.Select((old, index) => (old, index)).ToDictionary(pair => pair.old, pair => (uint)pair.index);
        return new RecordedPlan
        {
            Buffers = [.. _users.Select(pair => new RecordedBuffer(device.Buffers[pair.Key], Contents(pair.Key), Only(pair.Value)))],
            Kernels = _kernels,
            Commands = _commands,
            Pointers = [.. _pointers.Select(pointer => pointer with { Buffer = numbers[(int)pointer.Buffer] })],
            Arguments = [.. _arguments],
            Shapes = [.. _shapes.Select(shape => shape with
            {
                Timesteps = Renumber(shape.Timesteps),
                Labels = Renumber(shape.Labels),
                RowOfSample = Renumber(shape.RowOfSample),
                Updates = Renumber(shape.Updates),
                Counter = Renumber(shape.Counter),
                Latents = Renumber(shape.Latents),
                Noise = Renumber(shape.Noise),
                Tokens = Renumber(shape.Tokens),
                Prediction = Renumber(shape.Prediction),
            })],
            Decoder = _decoder with { Input = Renumber(_decoder.Input), Output = Renumber(_decoder.Output) },
        };

        PlanPlace Renumber(PlanPlace place) => place.Buffer == Files.FileHeader.None ? place : place with { Buffer = numbers[(int)place.Buffer] };
    }

    /// <summary>The shape that alone uses a buffer; none where the decoder or another does too.</summary>
    private static int? Only(HashSet<int> users) => users.Count == 1 && users.First() is >= 0 and var shape ? shape : null;

    private ReadOnlyMemory<byte> Contents(int buffer)
    {
        if (!memory.HoldsData) return default;
        var bytes = memory.Contents(buffer);
        return _written.Contains(buffer) || !bytes.Span.ContainsAnyExcept((byte)0) ? default : bytes;
    }

    private PlanPlace Place(int user, RecordedPlace place, long byteCount)
    {
        Use(user, place);
        _written.Add(place.Buffer);
        return new PlanPlace { Buffer = (uint)place.Buffer, Offset = (ulong)place.Offset, Bytes = (ulong)byteCount };
    }

    private void Use(int user, RecordedPlace place)
    {
        if (place.Buffer < 0) throw new InvalidOperationException("an address that is in no buffer cannot be exported");
        if (!_users.TryGetValue(place.Buffer, out var users)) _users.Add(place.Buffer, users = []);
        users.Add(user);
    }

    private PlanRange AddCommands(int user, List<RecordedCommand?> commands)
    {
        var first = (uint)_commands.Count;
        foreach (var command in commands)
        {
            switch (command)
            {
                case null:
                    _commands.Add(new PlanCommand { Kind = PlanCommandKind.Stage });
                    break;
                case RecordedLaunch launch:
                    AddLaunch(user, launch);
                    break;
                // The host writes and reads its places by itself.
                case RecordedUpload or RecordedDownload:
                    break;
                default:
                    throw new InvalidOperationException($"a step that does more than launch kernels cannot be exported: {command}");
            }
        }

        return new PlanRange { First = first, Count = (uint)_commands.Count - first };
    }

    private void AddLaunch(int user, RecordedLaunch launch)
    {
        var shape = launch.Shape;
        _commands.Add(new PlanCommand
        {
            Kind = PlanCommandKind.Launch,
            Kernel = (uint)Kernel(launch),
            GridX = (uint)shape.GridX,
            GridY = (uint)shape.GridY,
            GridZ = (uint)shape.GridZ,
            Threads = (uint)shape.Threads,
            SharedBytes = (uint)shape.SharedBytes,
            FirstPointer = (uint)_pointers.Count,
            PointerCount = (uint)launch.Pointers.Count(pointer => pointer.Target.Buffer != RecordedPlace.Null),
            ArgumentOffset = (ulong)_arguments.Count,
        });
        foreach (var (argumentOffset, target) in launch.Pointers)
        {
            if (target.Buffer == RecordedPlace.Null) continue;
            Use(user, target);
            _pointers.Add(new PlanPointer { Offset = (ulong)target.Offset, Buffer = (uint)target.Buffer, ArgumentOffset = (uint)argumentOffset });
        }

        _arguments.AddRange(launch.Arguments);
        while (_arguments.Count % ArgumentAlignment != 0) _arguments.Add(0);
    }

    private int Kernel(RecordedLaunch launch)
    {
        if (!_kernelNumbers.TryGetValue(launch.Module, out var number))
        {
            _kernelNumbers.Add(launch.Module, number = _kernels.Count);
            _kernels.Add(new RecordedKernel(_specs[launch.Module], launch.Shape.SharedBytes, launch.Arguments.Length));
        }

        var kernel = _kernels[number];
        _kernels[number] = kernel with { SharedBytes = Math.Max(kernel.SharedBytes, launch.Shape.SharedBytes) };
        return number;
    }
}

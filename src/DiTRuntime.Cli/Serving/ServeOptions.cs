using System.CommandLine;
using DiTRuntime.Models.Scheduling;
using DiTRuntime.Serving;

namespace DiTRuntime.Cli.Serving;

/// <summary>The options of <c>dit serve</c>.</summary>
internal sealed class ServeOptions
{
    private const int Megabyte = 1_000_000;

    private readonly Option<string?> _model = Flags.OptionalText("--model", "Checkpoint file or diffusers folder; the built-in digits when absent", "PATH", "-m");
    private readonly Option<string?> _vae = Flags.OptionalText("--vae", "Decoder file or folder; needed by models that work on latents", "PATH");
    private readonly Option<string> _compat = Flags.Choice("--compat", "Which published implementation to agree with", "official", "diffusers");
    private readonly Option<int?> _heads = Flags.OptionalWhole("--heads", "Attention heads, where the checkpoint does not say");
    private readonly Option<int?> _size = Flags.OptionalWhole("--image-size", "Side of the images in pixels, where it is not the model's own");
    private readonly Option<int?> _maxVram = Flags.OptionalWhole("--max-vram", "The most GPU memory to use, in MB");
    private readonly Option<string> _host = Flags.Text("--host", "Address to listen at; 0.0.0.0 for all", "ADDRESS", new ServerOptions().Host);
    private readonly Option<int> _port = Flags.Whole("--port", "Port; 0 takes a free one", new ServerOptions().Port);
    private readonly Option<int> _maxQueue = Flags.Whole("--max-queue", "Requests that may wait", new SchedulerOptions().MaxQueue);
    private readonly Option<int> _maxImages = Flags.Whole("--max-images", "Images of one request", new SchedulerOptions().MaxImagesPerRequest);
    private readonly Option<int> _maxBatch = Flags.Whole("--max-batch", "Samples of one step, a guided image takes two; 0 chooses", 0);
    private readonly Option<int> _maxConnections = Flags.Whole("--max-connections", "Connections at once", new ServerOptions().MaxConnections);
    private readonly Option<int> _modulation = Flags.Whole("--modulation-mb", "Memory for the adaLN rows of classes and timesteps, in MB", (int)(new SchedulerOptions().ModulationBytes >> 20));
    private readonly Option<double> _jobMinutes = Flags.Number("--job-minutes", "How long a finished job is kept", new ServerOptions().JobLifetime.TotalMinutes);
    private readonly Option<double> _grace = Flags.Number("--grace", "Seconds that accepted requests have to end after a signal", new DiTOptions().Grace.TotalSeconds);
    private readonly Option<string?> _keys = Flags.OptionalText("--api-key-file", "File with one key a line; requests must bring one of them", "FILE");

    /// <summary>Adds them to the command.</summary>
    public void AddTo(Command command)
    {
        foreach (Option option in new Option[]
        {
            _model, _vae, _compat, _heads, _size, _maxVram, _host, _port, _maxQueue, _maxImages, _maxBatch, _maxConnections, _modulation, _jobMinutes, _grace, _keys,
        }) command.Add(option);
    }

    /// <summary>How long accepted requests have after a signal.</summary>
    /// <exception cref="UsageException">It is negative, or longer than a day.</exception>
    public TimeSpan Grace(ParseResult parse) => TimeSpan.FromSeconds(Within(parse, _grace, 0, 86_400));

    /// <summary>Writes what the command line says into the model's options.</summary>
    /// <exception cref="UsageException">A value that makes no sense.</exception>
    public Action<DiTOptions> Model(ParseResult parse, Session session)
    {
        var scheduler = new SchedulerOptions
        {
            MaxQueue = (int)Within(parse, _maxQueue, 1, 1_000_000),
            MaxImagesPerRequest = (int)Within(parse, _maxImages, 1, 10_000),
            MaxBatch = (int)Within(parse, _maxBatch, 0, 65_536),
            ModulationBytes = (long)Within(parse, _modulation, 1, 1 << 20) << 20,
        };
        var grace = Grace(parse);
        var gpuBytes = parse.GetValue(_maxVram) is null ? (long?)null : (long)Within(parse, _maxVram, 1, int.MaxValue) * Megabyte;
        return options =>
        {
            options.Model = parse.GetValue(_model);
            options.Decoder = parse.GetValue(_vae);
            options.Compatibility = Flags.Compatibility(parse, _compat);
            options.Heads = parse.GetValue(_heads);
            options.ImageSize = parse.GetValue(_size);
            options.Backend = session.BackendName;
            options.Threads = session.ThreadCount;
            options.MaxGpuBytes = gpuBytes;
            options.Scheduler = scheduler;
            options.Grace = grace;
            options.Announce = session.Note;
        };
    }

    /// <summary>How the service is reached.</summary>
    /// <exception cref="UsageException">A value that makes no sense.</exception>
    /// <exception cref="InvalidFileException">The file of keys cannot be read.</exception>
    public ServerOptions Server(ParseResult parse) => new()
    {
        Host = parse.GetRequiredValue(_host),
        Port = parse.GetValue(_port),
        MaxConnections = parse.GetValue(_maxConnections),
        JobLifetime = TimeSpan.FromMinutes(Within(parse, _jobMinutes, 0.01, 10_000)),
        ApiKeys = parse.GetValue(_keys) is { } file ? KeyFile.Read(file) : [],
    };

    private static double Within<T>(ParseResult parse, Option<T> option, double least, double most)
    {
        var value = Convert.ToDouble(parse.GetValue(option));
        return value >= least && value <= most ? value : throw new UsageException($"{option.Name} {value}: expected {least} to {most}");
    }
}

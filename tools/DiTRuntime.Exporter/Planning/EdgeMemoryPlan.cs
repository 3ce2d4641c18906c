using DiTRuntime.Exporter.Files;

namespace DiTRuntime.Exporter.Planning;

/// <summary>A part of the memory that an exported model works in.</summary>
/// <param name="Name">What it is for.</param>
/// <param name="Bytes">How large it is.</param>
/// <param name="Shared">Whether it takes turns with the other shared parts: only the largest of them counts.</param>
internal readonly record struct MemoryPart(string Name, long Bytes, bool Shared = false);

/// <summary>
/// What the exported runtime holds, from the weights file's header and tables alone. The one description of its sizes is runtime/plan.c (and
/// dit_allocate_work in api.c, dit_layer_open in layers.c, dit_pool_open in threads.c), which this class mirrors buffer by buffer; a test compares the two.
/// </summary>
/// <remarks>
/// memory = request + layers + threads + run + max(conditioning, sampling, decoding), and beside it the mapped weights. With B = 2·batch samples (each image and
/// its unguided twin), T tokens, H hidden, M of the MLP, R table rows, in fp32 unless layers read codes:
/// run = table [depth, R, 6H] and [R, 2H], latents; conditioning = [R, F + 3H]; sampling = tokens [B, T, H], qkv [B, T, 3H], patches, prediction, what layers
/// read [B, T, H] and [B, T, M]; decoding = the tensors of a tile. Every buffer is rounded up to 64 bytes.
/// </remarks>
internal sealed partial record EdgeMemoryPlan : IMemoryPlan
{
    /// <summary>Every buffer begins at a cache line.</summary>
    private const long Alignment = 64;

    /// <summary>A tile of a product reads so many rows past the last.</summary>
    private const long PaddingRows = 16;

    /// <summary>What the allocator puts before a block: its place and length, and the way to a cache line.</summary>
    private const long BlockBytes = 16 + Alignment - 1;

    /// <summary>The context and the engine, nearly; the steps of a plan; a generator of random numbers (sizes of dit_step and dit_random).</summary>
    private const long ContextBytes = 1216, StepBytes = 28, GeneratorBytes = 2512, TrainingSteps = 1000;

    /// <summary>An entry of the table of open layers.</summary>
    private const long OpenLayerBytes = 72;

    /// <summary>Biases are readable for a panel past the last.</summary>
    private const long PaddingOutputs = 64;

    private const string RequestPart = "noise, latents and pixels of a request", DecodingPart = "decoding";

    /// <summary>What a process takes that runs nothing: the program, the C library, stacks.</summary>
    private const long ProgramBytes = 2_000_000;

    /// <summary>Bytes of the mapped weights.</summary>
    public required long WeightBytes { get; init; }

    /// <summary>Images sampled together.</summary>
    public required int Batch { get; init; }

    /// <summary>Rows of the modulation table held at once.</summary>
    public required int TableRows { get; init; }

    /// <summary>Positions that the decoder takes at once.</summary>
    public required int TileSide { get; init; }

    /// <summary>Threads it is planned for.</summary>
    public required int Threads { get; init; }

    /// <summary>Side of an image in pixels.</summary>
    public required int ImageSide { get; init; }

    /// <summary>What the memory is for.</summary>
    public required IReadOnlyList<MemoryPart> Parts { get; init; }

    /// <summary>Finished images of a batch and their latents, held by the caller.</summary>
    public required long ImageBytes { get; init; }

    /// <summary>Bytes that stay from opening to closing, and what takes turns.</summary>
    public long MemoryBytes => Held + Parts.Where(part => part.Shared).Max(part => part.Bytes);

    /// <summary>While the model is opened: the weights are mapped, not read.</summary>
    public long LoadBytes => ProgramBytes + Held;

    /// <summary>While images are sampled: all weights but the decoder's have been read.</summary>
    public long SamplingBytes => ProgramBytes + WeightBytes + Held + Parts.Where(part => part.Shared && part.Name != DecodingPart).Max(part => part.Bytes);

    /// <summary>While images are decoded: what sampling took is not given back.</summary>
    public long DecodingBytes => ProgramBytes + WeightBytes + MemoryBytes + ImageBytes;

    /// <summary>The most that is resident at once, weights and program included.</summary>
    public long PeakBytes => Math.Max(SamplingBytes, DecodingBytes);

    private long Held => Parts.Where(part => !part.Shared).Sum(part => part.Bytes);

    /// <summary>Plans what a file makes the runtime hold.</summary>
    /// <param name="file">The file, laid out.</param>
    /// <param name="tableRows">Rows of the modulation table, in place of those in the header.</param>
    /// <param name="threads">Threads.</param>
    public static EdgeMemoryPlan Of(WeightsFile file, int tableRows, int threads)
    {
        var h = file.Header;
        long side = h.InputSize, imageSide = (long)h.InputSize * h.Upscale, latent = h.InChannels * side * side, pixels = imageSide * imageSide * h.ImageChannels;
        return new EdgeMemoryPlan
        {
            WeightBytes = (long)h.FileBytes,
            Batch = (int)h.MaxBatch,
            TableRows = tableRows,
            TileSide = (int)h.TileSize,
            Threads = threads,
            ImageSide = (int)imageSide,
            ImageBytes = h.MaxBatch * (pixels + latent * sizeof(float)),
            Parts =
            [
                new(RequestPart, RequestBytes(h.MaxBatch, latent, pixels)),
                new("biases and codewords", file.Layers.Sum(LayerBytes) + file.Layers.Count * OpenLayerBytes + BlockBytes),
                new("scratch of the threads", threads * ThreadScratch.BytesOf(h, file.Layers, file.Tensors, file.Operations) + 3 * BlockBytes),
                new("latents and modulation of a batch", RunBytes(h, tableRows) + BlockBytes),
                new("conditioning", Floats(tableRows, h.FrequencySize) + 3 * Floats(tableRows, h.HiddenSize), Shared: true),
                new("sampling", PassBytes(h, file.Layers), Shared: true),
                new(DecodingPart, DecodingWork(h, file), Shared: true),
            ],
        };
    }

    /// <summary>The context, a plan's steps, generators, noise and latents of a batch, pixels of an image.</summary>
    private static long RequestBytes(long batch, long latent, long pixels) =>
        ContextBytes + TrainingSteps * StepBytes + batch * (GeneratorBytes + 2 * latent * sizeof(float)) + pixels * sizeof(float) + 7 * BlockBytes;

    private static long Round(long bytes) => (bytes + Alignment - 1) / Alignment * Alignment;

    private static long Floats(long rows, long length) => Round(rows * length * sizeof(float));

    /// <summary>The padded bias, and 8-bit codewords in slots of 4 or 8 bytes where the input is quantized.</summary>
    private static long LayerBytes(FileLayer layer)
    {
        var bytes = (layer.Outputs + PaddingOutputs) * sizeof(float) + BlockBytes;
        if (layer.Format is not (FileFormat.Codebook or FileFormat.Product) || layer.ActivationGroup == 0) return bytes;
        long words = layer.PoolSize > 0 ? layer.PoolSize : (layer.Format == FileFormat.Product ? layer.Inputs / layer.VectorLength : layer.Parts) * (long)layer.CodebookSize;
        return bytes + words * (layer.VectorLength <= 4 ? 4 : 8) + BlockBytes;
    }

    /// <summary>Classes, rows of samples and of the table; latents; the modulation table; the decoder's list of tensors.</summary>
    private static long RunBytes(in FileHeader h, long rows)
    {
        // Verification passes two images, whatever the batch.
        var images = Math.Max(h.MaxBatch, 2L);
        return Round((images + 1) * sizeof(int)) + 2 * Round(2 * images * sizeof(int)) + 2 * Round(rows * sizeof(int))
            + Floats(images * h.InChannels, (long)h.InputSize * h.InputSize) + Floats(h.Depth * rows, 6L * h.HiddenSize) + Floats(rows, 2L * h.HiddenSize)
            + Round(h.TensorCount * 8L);
    }

    private static long PassBytes(in FileHeader h, IReadOnlyList<FileLayer> layers)
    {
        long side = h.InputSize / h.PatchSize, samples = 2L * h.MaxBatch, rows = samples * side * side, hidden = h.HiddenSize;
        var (first, last) = (layers[0], layers[4 + 5 * (int)h.Depth + 1]);
        var (tokens, hiddens) = (default(InputFormats), default(InputFormats));
        var staged = 0L;
        for (var block = 4; block < 4 + 5 * (int)h.Depth; block += 5)
        {
            tokens = tokens.With(layers[block + 1]).With(layers[block + 2]).With(layers[block + 3]);
            hiddens = hiddens.With(layers[block + 4]);
            if (layers[block + 2].ActivationGroup != 0) staged = Math.Max(staged, hidden);
            if (layers[block + 3].ActivationGroup == 0 && layers[block + 4].ActivationGroup != 0) staged = Math.Max(staged, h.MlpSize);
        }

        tokens = tokens.With(last);
        return Floats(rows, hidden) + Floats(rows, 3 * hidden) + Floats(rows, Math.Max(first.Inputs, last.Outputs))
            + Floats(samples * h.OutChannels, (long)h.InputSize * h.InputSize)
            + tokens.Bytes(rows, hidden) + hiddens.Bytes(rows, h.MlpSize) + Floats(rows, staged);
    }

    /// <summary>A tile's tensors, its shares of the image, and sums of a group norm's image rows.</summary>
    private static long DecodingWork(in FileHeader h, WeightsFile file)
    {
        if (h.DecoderKind == FileDecoder.Pixels) return 0;
        var moments = 0L;
        foreach (var operation in file.Operations)
        {
            if (operation.Kind != FileOperationKind.GroupNorm) continue;
            var input = file.Tensors[(int)operation.Input];
            moments = Math.Max(moments, (input.Height + 2L) * input.Channels);
        }

        return 2 * Floats((long)h.TileSize * h.Upscale, 1) + file.Tensors.Sum(tensor => Floats((long)tensor.Height * tensor.Width, tensor.Channels)) + Floats(moments, 1);
    }

    /// <summary>The forms in which some layers read their input: plain, or in codes of so many groups at most.</summary>
    private readonly record struct InputFormats(bool Plain, long MostGroups)
    {
        public InputFormats With(in FileLayer layer) => layer.ActivationGroup == 0
            ? this with { Plain = true }
            : this with { MostGroups = Math.Max(MostGroups, (layer.Inputs + layer.ActivationGroup - 1) / layer.ActivationGroup) };

        public long Bytes(long rows, long length)
        {
            var padded = rows + PaddingRows;
            return (Plain ? Floats(rows, length) : 0) + (MostGroups == 0 ? 0 : Round(padded * ((length + 3) / 4 * 4)) + 3 * Floats(MostGroups, padded));
        }
    }
}

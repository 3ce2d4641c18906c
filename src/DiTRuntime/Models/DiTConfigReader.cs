using DiTRuntime.Checkpoints;

namespace DiTRuntime.Models;

/// <summary>Finds the architecture of a checkpoint: dimensions from its tensors, the rest from its configuration or the user.</summary>
internal sealed class DiTConfigReader
{
    // Far above any DiT; keeps products of dimensions that a hostile file claims inside an int.
    private const int MaxExtent = 1 << 20;
    private const int MaxHiddenSize = 1 << 16;

    private readonly ICheckpoint _checkpoint;
    private readonly DiTLayout _layout;
    private readonly DiTLoadOptions _options;
    private readonly DiTConfigFacts _facts;

    private DiTConfigReader(ICheckpoint checkpoint, DiTLayout layout, DiTLoadOptions options)
    {
        _checkpoint = checkpoint;
        _layout = layout;
        _options = options;
        _facts = DiTConfigFacts.Read(checkpoint);
    }

    /// <summary>The architecture of a checkpoint.</summary>
    /// <param name="checkpoint">The open file.</param>
    /// <param name="layout">Its layout.</param>
    /// <param name="options">What the user says.</param>
    /// <returns>The architecture at the size the file was made for; <see cref="DiTLoadOptions.InputSize"/> is not applied here.</returns>
    /// <exception cref="InvalidFileException">A tensor that shows a dimension is missing, or the configuration contradicts the tensors.</exception>
    /// <exception cref="UsageException">Heads or size cannot be found, or the user contradicts the file.</exception>
    public static DiTConfig Read(ICheckpoint checkpoint, DiTLayout layout, DiTLoadOptions options) => new DiTConfigReader(checkpoint, layout, options).Read();

    private DiTConfig Read()
    {
        var patchEmbed = Shape("x_embedder.proj", "[H,C,p,p]", 4);
        var (hidden, channels, patch) = (patchEmbed[0], patchEmbed[1], patchEmbed[2]);
        if (patch != patchEmbed[3] || hidden > MaxHiddenSize)
            throw Wrong($"tensor {Name("x_embedder.proj")} has shape {TensorRules.Text<int>(patchEmbed)}; square patches and at most {MaxHiddenSize} rows were expected");
        var depth = Depth();
        var classes = Shape("y_embedder.embedding_table", "[classes + 1,H]", 2)[0] - 1;
        if (classes < 1) throw Wrong($"tensor {Name("y_embedder.embedding_table")} has 1 row; one per class and one for \"no class\" were expected");
        var config = new DiTConfig
        {
            PatchSize = patch,
            InChannels = channels,
            OutChannels = OutChannels(channels, patch),
            HiddenSize = hidden,
            Depth = depth,
            MlpSize = Shape("blocks.0.mlp.fc1", "[M,H]", 2)[0],
            ClassCount = classes,
            FrequencySize = FrequencySize(),
            InputSize = InputSize(patch),
            HeadCount = HeadCount(hidden, depth),
        };
        _facts.CheckAgainst(config);
        return config;
    }

    private int Depth()
    {
        var depth = 0;
        foreach (var tensor in _checkpoint.Tensors)
        {
            if (!tensor.Name.StartsWith(_layout.BlockPrefix, StringComparison.Ordinal)) continue;
            var number = tensor.Name.AsSpan(_layout.BlockPrefix.Length);
            var dot = number.IndexOf('.');
            // A number beyond the count of tensors is no block: the audit names it as an extra tensor.
            if (dot > 0 && int.TryParse(number[..dot], out var index) && index >= 0 && index < _checkpoint.Tensors.Count) depth = Math.Max(depth, index + 1);
        }

        return depth > 0 ? depth : throw Wrong($"no block: a tensor {_layout.BlockPrefix}0.… was expected");
    }

    private int FrequencySize()
    {
        var size = Shape("t_embedder.mlp.0", "[H,256]", 2)[1];
        return size % 2 == 0 ? size : throw Wrong($"tensor {Name("t_embedder.mlp.0")} has {size} columns; an even number was expected (cosines, then sines)");
    }

    private int OutChannels(int channels, int patch)
    {
        var rows = Shape("final_layer.linear", "[p·p·Cout,H]", 2)[0];
        var area = (long)patch * patch;
        if (rows == area * channels) return channels;
        if (rows == 2 * area * channels) return 2 * channels;
        throw Wrong($"tensor {Name("final_layer.linear")} has {rows} rows; {area * channels} or {2 * area * channels} were expected for {channels} channels and patches of {patch}×{patch}");
    }

    private int InputSize(int patch)
    {
        if (!_layout.StoresPositions)
        {
            var given = _facts.InputSize ?? _options.InputSize ?? throw new UsageException($"{_checkpoint.Path}: no config.json says for which image size the model was made; give --image-size");
            if (_facts.InputSize is not null && PositionEmbedding.Problem(given, patch) is { } wrong) throw Wrong($"{_facts.Source}: {wrong}");
            PositionEmbedding.CheckInputSize(given, patch);
            return given;
        }

        var shape = Shape("pos_embed", 3, "[1,T,H]", "pos_embed");
        var side = (int)Math.Sqrt(shape[1]);
        if (side * side != shape[1]) throw Wrong($"tensor pos_embed has {shape[1]} rows; a square number was expected");
        var size = side * patch;
        if (PositionEmbedding.Problem(size, patch) is { } problem) throw Wrong($"tensor pos_embed: {problem}");
        if (_facts.InputSize is { } said && said != size) throw Wrong($"{_facts.Source} says input_size {said}; pos_embed {TensorRules.Text<int>(shape)} was made for {size}");
        return size;
    }

    private int HeadCount(int hidden, int depth)
    {
        if (_options.HeadCount is { } given && (given < 1 || hidden % given != 0))
            throw new UsageException($"{given} heads do not divide the width {hidden} of {_checkpoint.Path}; give another --heads");
        if (_facts.HeadCount is { } said)
        {
            if (said < 1 || hidden % said != 0) throw Wrong($"{_facts.Source} says {said} heads, which do not divide the width {hidden}");
            if (_options.HeadCount is { } other && other != said)
                throw new UsageException($"--heads {other} contradicts {_checkpoint.Path}, whose {_facts.Source} says {said}; leave it out");
            return said;
        }

        return _options.HeadCount ?? DiTConfigs.PublishedHeadCount(hidden, depth)
            ?? throw new UsageException($"{_checkpoint.Path} does not say how many attention heads it has, and no published DiT has width {hidden} and depth {depth}; give --heads");
    }

    private string Name(string layer) => _layout.Parts(layer)[0] + ".weight";

    private int[] Shape(string layer, string expected, int rank) => Shape(Name(layer), rank, expected, layer);

    private int[] Shape(string name, int rank, string expected, string layer)
    {
        if (!_checkpoint.TryGet(name, out var tensor)) throw Wrong($"tensor {name} is missing ({layer} {expected} in the {_layout.Name} layout)");
        var shape = tensor.Shape.ToArray();
        return shape.Length == rank && Array.TrueForAll(shape, extent => extent is >= 1 and <= MaxExtent)
            ? shape
            : throw Wrong($"tensor {name} has shape {tensor.ShapeText}; {expected} was expected");
    }

    private InvalidFileException Wrong(string problem) => new(_checkpoint.Path, problem);
}

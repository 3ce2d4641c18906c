using System.Runtime.InteropServices;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Models;

/// <summary>Loads a DiT from any published layout and file type.</summary>
public static class DiTWeightsLoader
{
    // Positions that files of the diffusers layout may carry although they are computed.
    private static readonly HashSet<string> s_strayPositions = new(StringComparer.Ordinal) { "pos_embed", "pos_embed.pos_embed" };

    /// <summary>Opens a checkpoint and finds a DiT's weights in it. The large ones stay in the mapped file.</summary>
    /// <param name="path">A file or folder, see <see cref="Checkpoint.Open"/>.</param>
    /// <param name="options">What the user says about the model.</param>
    /// <returns>The weights; they own the open file.</returns>
    /// <exception cref="InvalidFileException">
    /// The file is wrong, is no DiT, or a tensor is missing, extra, of another shape, or not finite; the tensor is named.
    /// </exception>
    /// <exception cref="UsageException">The head count or the size is not known, or the options contradict the file.</exception>
    public static DiTWeights Load(string path, DiTLoadOptions? options = null)
    {
        options ??= new DiTLoadOptions();
        var checkpoint = Checkpoint.Open(path);
        try
        {
            if (options.CopiesPackedFile && PackedModel.Recognises(checkpoint))
            {
                checkpoint.Dispose();
                checkpoint = SafetensorsFile.Open(path, copies: true);
            }

            return Load(checkpoint, options);
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    internal static DiTWeights Load(ICheckpoint checkpoint, DiTLoadOptions options)
    {
        if (PackedModel.Recognises(checkpoint)) return PackedModel.Read(checkpoint, options);
        var layout = LayoutOf(checkpoint);
        var config = DiTConfigReader.Read(checkpoint, layout, options);
        Audit(checkpoint, layout, config);
        var remarks = new List<string>();
        var copies = DropCopies(checkpoint, layout, config);
        if (copies > 0) remarks.Add($"{copies} copies of the embedders' tensors are identical and were dropped");
        CheckpointTensor? stored = null;
        if (layout.StoresPositions) checkpoint.TryGet("pos_embed", out stored);
        var source = new LayerSource(checkpoint, layout);
        return Assemble(checkpoint, config, options, stored, layer => source.Linear(layer.Name, layer.HasBias), remarks);
    }

    /// <summary>Puts the layers of a checked file together.</summary>
    /// <param name="checkpoint">The file.</param>
    /// <param name="config">The architecture at the size the file was made for.</param>
    /// <param name="options">What the user says.</param>
    /// <param name="storedPositions">The file's positions, if it has them.</param>
    /// <param name="linear">Makes a layer.</param>
    /// <param name="remarks">What the user shall be told; may grow.</param>
    internal static DiTWeights Assemble(
        ICheckpoint checkpoint, DiTConfig config, DiTLoadOptions options, CheckpointTensor? storedPositions, Func<DiTLayer, LinearWeight> linear, List<string> remarks)
    {
        var (sized, positions) = Positions(checkpoint, storedPositions, config, options, remarks);
        var layers = DiTLayout.Layers(config).ToDictionary(layer => layer.Name, linear, StringComparer.Ordinal);
        return new DiTWeights
        {
            Config = sized,
            Checkpoint = checkpoint,
            PatchEmbed = layers["x_embedder.proj"],
            Positions = positions,
            TimestepIn = layers["t_embedder.mlp.0"],
            TimestepOut = layers["t_embedder.mlp.2"],
            LabelTable = layers["y_embedder.embedding_table"],
            Blocks = [.. Enumerable.Range(0, config.Depth).Select(i => $"blocks.{i}.").Select(block => new BlockWeights(
                layers[block + "adaLN_modulation.1"], layers[block + "attn.qkv"], layers[block + "attn.proj"], layers[block + "mlp.fc1"], layers[block + "mlp.fc2"]))],
            FinalModulation = layers["final_layer.adaLN_modulation.1"],
            FinalLinear = layers["final_layer.linear"],
            Labels = DiTLabels.Read(checkpoint, config),
            Remarks = remarks,
        };
    }

    private static DiTLayout LayoutOf(ICheckpoint checkpoint)
    {
        foreach (var layout in new[] { DiTLayout.Official, DiTLayout.Diffusers })
        {
            var patchEmbed = layout.Parts("x_embedder.proj")[0];
            if (checkpoint.Tensors.Any(t => t.Name.StartsWith(layout.BlockPrefix, StringComparison.Ordinal) || t.Name.StartsWith(patchEmbed, StringComparison.Ordinal)))
                return layout;
        }

        var first = checkpoint.Tensors.Count == 0 ? "it holds no tensor" : $"its first tensor is {checkpoint.Tensors[0].Name}";
        throw new InvalidFileException(checkpoint.Path, $"not a DiT: tensors blocks.0.… (official) or transformer_blocks.0.… (diffusers) were expected; {first}");
    }

    /// <summary>The file holds every tensor of its layout, in the right shape, and nothing else.</summary>
    private static void Audit(ICheckpoint checkpoint, DiTLayout layout, DiTConfig config)
    {
        var known = new HashSet<string>(StringComparer.Ordinal);
        foreach (var expected in layout.Tensors(config))
        {
            var shape = TensorRules.Text<int>(expected.Shape);
            if (!checkpoint.TryGet(expected.Name, out var tensor))
                throw new InvalidFileException(checkpoint.Path, $"tensor {expected.Name} is missing; shape {shape} was expected");
            if (!tensor.Shape.SequenceEqual(expected.Shape))
                throw new InvalidFileException(checkpoint.Path, $"tensor {expected.Name} has shape {tensor.ShapeText}; {shape} was expected");
            if (!tensor.Type.IsFloatingPoint())
                throw new InvalidFileException(checkpoint.Path, $"tensor {expected.Name} holds {tensor.Type}; weights are F32, F16, BF16 or F64");
            known.Add(expected.Name);
        }

        foreach (var tensor in checkpoint.Tensors)
        {
            if (!known.Contains(tensor.Name) && (layout.StoresPositions || !s_strayPositions.Contains(tensor.Name)))
                throw new InvalidFileException(checkpoint.Path, $"tensor {tensor.Name} {tensor.ShapeText} is extra: no DiT of depth {config.Depth} in the {layout.Name} layout has it");
        }
    }

    private static int DropCopies(ICheckpoint checkpoint, DiTLayout layout, DiTConfig config)
    {
        var count = 0;
        foreach (var layer in DiTLayout.Layers(config))
        {
            foreach (var part in layout.Parts(layer.Name))
            {
                foreach (var copy in DiTLayout.Copies(part, config))
                {
                    foreach (var suffix in layer.HasBias ? new[] { ".weight", ".bias" } : [".weight"])
                    {
                        CheckCopy(checkpoint, part + suffix, copy + suffix);
                        count++;
                    }
                }
            }
        }

        return count;
    }

    private static void CheckCopy(ICheckpoint checkpoint, string original, string copy)
    {
        checkpoint.TryGet(original, out var first);
        checkpoint.TryGet(copy, out var second);
        if (!SameElements(first!, second!))
            throw new InvalidFileException(checkpoint.Path, $"tensor {copy} differs from {original}; a DiT has one embedder, so the copies must be identical");
    }

    private static bool SameElements(CheckpointTensor first, CheckpointTensor second)
    {
        if (first.Type == second.Type && first.IsContiguous && second.IsContiguous) return first.Bytes.SequenceEqual(second.Bytes);
        var rowLength = first.Count / first.Shape[0];
        var (a, b) = (new float[rowLength], new float[rowLength]);
        for (var row = 0; row < first.Shape[0]; row++)
        {
            first.CopyRows(row, 1, a);
            second.CopyRows(row, 1, b);
            if (!MemoryMarshal.AsBytes<float>(a).SequenceEqual(MemoryMarshal.AsBytes<float>(b))) return false;
        }

        return true;
    }

    private static (DiTConfig Config, float[] Positions) Positions(
        ICheckpoint checkpoint, CheckpointTensor? stored, DiTConfig config, DiTLoadOptions options, List<string> remarks)
    {
        var size = options.InputSize ?? config.InputSize;
        if (size == config.InputSize && stored is not null) return (config, LayerSource.Values(stored));
        PositionEmbedding.CheckInputSize(size, config.PatchSize);
        if (config.HiddenSize % 4 != 0)
            throw new InvalidFileException(checkpoint.Path, $"the width {config.HiddenSize} is no multiple of 4, so its positions cannot be computed");
        if (size != config.InputSize) remarks.Add($"made for latents of {config.InputSize}×{config.InputSize}; positions were computed for {size}×{size}");
        return (config with { InputSize = size }, PositionEmbedding.Compute(config.HiddenSize, size / config.PatchSize));
    }

    /// <summary>Builds layers from the tensors of an audited file.</summary>
    private sealed class LayerSource(ICheckpoint checkpoint, DiTLayout layout)
    {
        public DenseWeight Linear(string layer, bool hasBias)
        {
            var parts = layout.Parts(layer);
            float[]? bias = hasBias ? [.. parts.SelectMany(part => Values(Tensor(part + ".bias")))] : null;
            return new DenseWeight(layer, [.. parts.Select(part => Tensor(part + ".weight"))], bias);
        }

        public static float[] Values(CheckpointTensor tensor)
        {
            var values = tensor.ToArray();
            Finite.Check(values, tensor);
            return values;
        }

        private CheckpointTensor Tensor(string name) =>
            checkpoint.TryGet(name, out var tensor) ? tensor : throw new InvalidOperationException($"{name} was audited and is gone");
    }
}

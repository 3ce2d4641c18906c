using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using DiTRuntime.Exporter.Decoding;
using DiTRuntime.Models;

namespace DiTRuntime.Exporter.Files;

/// <summary>What a weights file is planned for: the part of its header that is no fact of the model.</summary>
/// <param name="Batch">Images sampled together, at most.</param>
/// <param name="Steps">Steps where a request names none.</param>
/// <param name="TableRows">Rows of the modulation table held at once.</param>
/// <param name="Sampler">0 DDIM, 1 DDPM.</param>
/// <param name="Spacing">0 leading, 1 linspace, 2 trailing.</param>
/// <param name="GuidanceScale">Where a request names none.</param>
internal readonly record struct FilePlan(int Batch, int Steps, int TableRows, uint Sampler, uint Spacing, float GuidanceScale);

/// <summary>weights.dit, laid out: what stands where is settled, nothing is read yet. Weights pass through when it is written, one section at a time.</summary>
internal sealed class WeightsFile
{
    private readonly SectionList _sections;

    private WeightsFile(SectionList sections, FileHeader header, FileLayer[] layers, FileTensor[] tensors, FileOperation[] operations)
    {
        _sections = sections;
        (Header, Layers, Tensors, Operations) = (header, layers, tensors, operations);
    }

    /// <summary>The header as it will be written.</summary>
    public FileHeader Header { get; }

    /// <summary>The model's layers, then the decoder's.</summary>
    public IReadOnlyList<FileLayer> Layers { get; }

    /// <summary>What the decoder works in.</summary>
    public IReadOnlyList<FileTensor> Tensors { get; }

    /// <summary>What the decoder does.</summary>
    public IReadOnlyList<FileOperation> Operations { get; }

    /// <summary>The facts of a model, its decoder and what the file is planned for; no decoder's tensors and no sections.</summary>
    /// <param name="config">The architecture.</param>
    /// <param name="decoder">Its decoder.</param>
    /// <param name="compatibility">Which published implementation the runtime agrees with.</param>
    /// <param name="plan">What the file is planned for.</param>
    public static FileHeader HeaderOf(DiTConfig config, DecoderTrace decoder, Compatibility compatibility, FilePlan plan) => Model(config, compatibility) with
    {
        Magic = FileHeader.FileMagic,
        Version = FileHeader.FileVersion,
        HeaderBytes = (uint)Unsafe.SizeOf<FileHeader>(),
        MaxBatch = (uint)plan.Batch,
        DefaultSteps = (uint)plan.Steps,
        TableRows = (uint)plan.TableRows,
        DefaultSampler = plan.Sampler,
        DefaultSpacing = plan.Spacing,
        DefaultGuidance = plan.GuidanceScale,
        DecoderKind = decoder.Kind,
        TileSize = (uint)decoder.TileSide,
        Upscale = (uint)decoder.Upscale,
        ImageChannels = (uint)decoder.ImageChannels,
        ScalingFactor = decoder.ScalingFactor,
        ShiftFactor = decoder.ShiftFactor,
        DecoderInput = FileHeader.None,
        DecoderOutput = FileHeader.None,
    };

    /// <summary>Lays a file out.</summary>
    /// <param name="weights">The model; lives until the file is written.</param>
    /// <param name="decoder">Its decoder, likewise.</param>
    /// <param name="compatibility">Which published implementation the runtime agrees with.</param>
    /// <param name="plan">What the file is planned for.</param>
    public static WeightsFile Of(DiTWeights weights, DecoderTrace decoder, Compatibility compatibility, FilePlan plan)
    {
        var sections = new SectionList(Unsafe.SizeOf<FileHeader>());
        var header = HeaderOf(weights.Config, decoder, compatibility, plan) with { Target = FileTarget.C, DecoderInput = decoder.Input, DecoderOutput = decoder.Output };

        // What describes the file comes first, so that opening it reads neighbouring pages. The layers' own table is full once they are added.
        var layers = new FileLayer[weights.Layers.Count() + decoder.Operations.Count(operation => operation is TracedConvolve or TracedProduct)];
        var tensors = decoder.FileTensors();
        var operations = new FileOperation[decoder.Operations.Count];
        (header.LayerCount, header.TensorCount, header.OperationCount) = ((uint)layers.Length, (uint)tensors.Length, (uint)operations.Length);
        header.Layers = sections.Add(layers);
        header.Tensors = sections.Add(tensors);
        header.Operations = sections.Add(operations);
        header.Frequencies = sections.Add(Conditioner.Frequencies(weights.Config.FrequencySize / 2, compatibility));
        header.ClassNames = sections.Add(ClassNames(weights));
        header.Positions = sections.Add(weights.Positions);

        var table = new LayerTable(sections);
        foreach (var layer in weights.Layers)
        {
            if (ReferenceEquals(layer, weights.LabelTable)) table.AddRows(layer);
            else table.Add(layer);
        }

        OperationTable.Of(decoder.Operations, table, sections).CopyTo(operations, 0);
        table.Entries.ToArray().CopyTo(layers, 0);
        header.FileBytes = sections.FileBytes;
        return new WeightsFile(sections, header, layers, tensors, operations);
    }

    /// <summary>Writes the file.</summary>
    /// <param name="path">Where to; it appears whole or not at all.</param>
    /// <param name="progress">Told the fraction that is written.</param>
    /// <param name="cancellation">Ends the writing; no file is left.</param>
    /// <exception cref="InvalidFileException">A weight is not finite.</exception>
    /// <exception cref="OutputException">The file cannot be written.</exception>
    public void Write(string path, IProgress<double>? progress = null, CancellationToken cancellation = default) => AtomicFile.Write(path, stream =>
    {
        var header = Header;
        stream.Write(MemoryMarshal.AsBytes(new ReadOnlySpan<FileHeader>(in header)));
        var written = 0L;
        _sections.Write(stream, bytes => progress?.Report((written += bytes) / (double)header.FileBytes), cancellation);
    });

    /// <summary>The facts of a model, and of the published code that its reading follows.</summary>
    internal static FileHeader Model(DiTConfig config, Compatibility compatibility)
    {
        var diffusers = compatibility == Compatibility.Diffusers;
        return new FileHeader
        {
            InputSize = (uint)config.InputSize,
            PatchSize = (uint)config.PatchSize,
            InChannels = (uint)config.InChannels,
            OutChannels = (uint)config.OutChannels,
            HiddenSize = (uint)config.HiddenSize,
            Depth = (uint)config.Depth,
            HeadCount = (uint)config.HeadCount,
            MlpSize = (uint)config.MlpSize,
            ClassCount = (uint)config.ClassCount,
            FrequencySize = (uint)config.FrequencySize,
            SingleSchedule = diffusers ? 1u : 0,
            GuidedChannels = (uint)(diffusers ? config.InChannels : Math.Min(3, config.InChannels)),
            RoundNearest = diffusers ? 1u : 0,
            AttentionEpsilon = DiTFrame.AttentionEpsilon,
            MlpEpsilon = DiTFrame.MlpEpsilon(compatibility),
            FinalEpsilon = DiTFrame.FinalEpsilon,
        };
    }

    internal static byte[] ClassNames(DiTWeights weights)
    {
        if (weights.Labels.Count == 0) return [];
        var names = Enumerable.Range(0, weights.Config.ClassCount).Select(label => weights.Labels.NameOf(label) ?? string.Empty);
        return Encoding.UTF8.GetBytes(string.Concat(names.Select(name => name.Replace('\0', ' ') + '\0')));
    }
}

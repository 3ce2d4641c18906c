using System.Runtime.InteropServices;
using DiTRuntime.Backends;
using DiTRuntime.Quantization;

namespace DiTRuntime.Exporter.Files;

/// <summary>The layers of a file: an entry for each, and its sections. Packed bytes are copied as they are.</summary>
/// <param name="sections">Where the sections go.</param>
internal sealed class LayerTable(SectionList sections)
{
    /// <summary>Rows of a dense weight that are converted at a time.</summary>
    private const int RowsAtOnce = 256;

    private readonly List<FileLayer> _layers = [];

    /// <summary>The entries, in the order in which they were added.</summary>
    public IReadOnlyList<FileLayer> Entries => _layers;

    /// <summary>Adds a linear layer in the form it has.</summary>
    /// <returns>Its number.</returns>
    public uint Add(LinearWeight weight) => Append(weight switch
    {
        GroupWeight group => Group(group),
        CodebookWeight books => Codebook(books),
        DenseWeight dense => Dense(dense, ElementWriter.Of(dense.StoredType)),
        _ => Dense(weight, FileElement.F32),
    });

    /// <summary>Adds a matrix that is read row by row, in floating point whatever form it has.</summary>
    /// <returns>Its number.</returns>
    public uint AddRows(LinearWeight weight) => weight is DenseWeight ? Add(weight) : Append(Dense(weight, FileElement.F32));

    /// <summary>Adds a convolution: taps outermost, each [N, K].</summary>
    /// <returns>Its number.</returns>
    public uint Add(ConvolutionWeight weight)
    {
        var element = ElementWriter.Of(weight.StoredType);
        var count = (long)weight.KernelSize * weight.KernelSize * weight.Outputs * weight.Inputs;
        return Append(new FileLayer
        {
            Name = FileName.Of(weight.Name),
            Outputs = (uint)weight.Outputs,
            Inputs = (uint)weight.Inputs,
            KernelSize = (uint)weight.KernelSize,
            Element = element,
            Weight = sections.Add(count * ElementWriter.ByteSize(element), stream => WriteTaps(weight, element, stream), SectionList.WeightAlignment),
            Bias = AddBias(weight.Bias),
        });
    }

    private uint Append(FileLayer layer)
    {
        _layers.Add(layer);
        return (uint)_layers.Count - 1;
    }

    private FileSection AddBias(float[]? bias) => bias is null ? default : sections.Add(bias);

    private FileLayer Dense(LinearWeight weight, FileElement element) => Common(weight) with
    {
        Element = element,
        Weight = sections.Add((long)weight.Outputs * weight.Inputs * ElementWriter.ByteSize(element), stream => WriteRows(weight, element, stream), SectionList.WeightAlignment),
        Bias = AddBias(weight.Bias),
    };

    private FileLayer Group(GroupWeight weight)
    {
        var layer = WithActivations(Common(weight), weight);
        layer.Format = FileFormat.Group;
        layer.Bits = (uint)weight.Format.Bits;
        layer.GroupSize = (uint)weight.Grid.Size;
        layer.Weight = sections.Add(weight.Codes.Length, stream => stream.Write(weight.Codes), SectionList.WeightAlignment);
        layer.Scales = sections.Add(MemoryMarshal.AsBytes(weight.Scales).Length, stream => stream.Write(MemoryMarshal.AsBytes(weight.Scales)));
        layer.Zeros = sections.Add(weight.Format.ZeroBytes(weight.Outputs, weight.Inputs), stream => WriteZeros(weight, stream));
        layer.Bias = AddBias(weight.Bias);
        return layer;
    }

    private FileLayer Codebook(CodebookWeight weight)
    {
        var format = weight.Format;
        var layer = WithActivations(Common(weight), weight);
        layer.Format = format.IsProduct ? FileFormat.Product : FileFormat.Codebook;
        layer.Bits = (uint)format.CodeBits;
        layer.VectorLength = (uint)format.VectorLength;
        layer.CodebookSize = (uint)format.CodebookSize;
        layer.Parts = (uint)format.Parts;
        layer.PoolSize = (uint)format.PoolSize;
        layer.WideTable = format.PoolSize > 0 && format.TableType == Checkpoints.ElementType.U32 ? 1u : 0;
        layer.IntegerScale = weight.Activations is null ? 0 : weight.IntegerScale;
        layer.Weight = sections.Add(weight.Codes.Length, stream => stream.Write(weight.Codes), SectionList.WeightAlignment);
        layer.Scales = sections.Add(MemoryMarshal.AsBytes(weight.RowScales).Length, stream => stream.Write(MemoryMarshal.AsBytes(weight.RowScales)));
        layer.Codebook = sections.Add(MemoryMarshal.AsBytes(weight.Vectors).Length, stream => stream.Write(MemoryMarshal.AsBytes(weight.Vectors)));
        layer.Table = sections.Add(weight.Table.Length, stream => stream.Write(weight.Table));
        layer.Bias = AddBias(weight.Bias);
        return layer;
    }

    private static FileLayer Common(LinearWeight weight) => new()
    {
        Name = FileName.Of(weight.Name),
        Outputs = (uint)weight.Outputs,
        Inputs = (uint)weight.Inputs,
    };

    private FileLayer WithActivations(FileLayer layer, LinearWeight weight)
    {
        if (weight.Activations is not { } activations) return layer;
        layer.ActivationGroup = (uint)activations.Grid(weight.Inputs).Size;
        if (activations.StaticScales is { } scales) layer.StaticScales = sections.Add(scales);
        if (activations.StaticZeros is { } zeros) layer.StaticZeros = sections.Add(zeros);
        return layer;
    }

    private static void WriteRows(LinearWeight weight, FileElement element, Stream stream)
    {
        var values = new float[Math.Min(RowsAtOnce, weight.Outputs) * weight.Inputs];
        for (var row = 0; row < weight.Outputs; row += RowsAtOnce)
        {
            var rows = values.AsSpan(0, Math.Min(RowsAtOnce, weight.Outputs - row) * weight.Inputs);
            weight.CopyRows(row, rows.Length / weight.Inputs, rows);
            ElementWriter.Write(stream, rows, element);
        }
    }

    private static void WriteZeros(GroupWeight weight, Stream stream)
    {
        var packed = new byte[weight.Format.ZeroBytes(weight.Outputs, weight.Inputs)];
        BitPacking.Pack(weight.Zeros, weight.Format.Bits, packed);
        stream.Write(packed);
    }

    /// <summary>[Cout, Cin, k, k] to [k·k, Cout, Cin].</summary>
    private static void WriteTaps(ConvolutionWeight weight, FileElement element, Stream stream)
    {
        var values = weight.ToArray();
        var taps = weight.KernelSize * weight.KernelSize;
        var matrix = new float[weight.Outputs * weight.Inputs];
        for (var tap = 0; tap < taps; tap++)
        {
            for (var i = 0; i < matrix.Length; i++) matrix[i] = values[i * taps + tap];
            ElementWriter.Write(stream, matrix, element);
        }
    }
}

using System.Globalization;
using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Quantization;

/// <summary>Finds and checks the tensors of a layer in a packed file.</summary>
/// <param name="checkpoint">The open file.</param>
internal sealed class PackedTensors(ICheckpoint checkpoint)
{
    /// <summary>Suffixes of the tensors of a layer.</summary>
    public const string Weight = ".weight", GroupCodes = ".qweight", Scales = ".scale", Zeros = ".zero", Bias = ".bias",
        Codes = ".codes", Codebook = ".codebook", Table = ".table", Pool = ".pool", ActivationScales = ".activation_scale", ActivationZeros = ".activation_zero";

    private static readonly string[] s_exactFloats = [Scales, ActivationScales, Codebook, Pool];

    private readonly HashSet<string> _used = new(StringComparer.Ordinal);

    /// <summary>Builds a layer from its tensors.</summary>
    /// <param name="name">The layer's name.</param>
    /// <param name="shape">Shape of the weight [N, ...].</param>
    /// <param name="hasBias">Whether there is a bias.</param>
    /// <param name="format">Its entry.</param>
    /// <exception cref="InvalidFileException">A tensor is missing, of another size or type, a scale is not positive and finite, a codeword is not finite, or a code is beyond them.</exception>
    public LinearWeight Read(string name, IReadOnlyList<int> shape, bool hasBias, LayerFormat format)
    {
        var tensors = format.Tensors(name, shape, hasBias ? ElementType.F16 : null).ToDictionary(t => t.Name[name.Length..], Find);
        float[]? bias = hasBias ? tensors[Bias].ToArray() : null;
        if (bias is not null) Finite.Check(bias, tensors[Bias]);
        if (format.Weights is null) return new DenseWeight(name, [tensors[Weight]], bias);
        if (tensors.TryGetValue(Scales, out var scales)) CheckScales(scales);
        var inputs = shape.Skip(1).Aggregate(1, (a, b) => a * b);
        var activations = format.Activations == ActivationMode.Static ? StaticActivations(format.ActivationGroup, tensors) : format.DynamicActivations;
        if (format.Weights is GroupFormat groups) return new GroupWeight(name, shape[0], inputs, bias, groups, tensors[GroupCodes], tensors[Scales], tensors[Zeros]) { Activations = activations };
        var books = (CodebookFormat)format.Weights;
        var vectors = tensors[books.PoolSize == 0 ? Codebook : Pool];
        CheckCodewords(vectors);
        CheckCodes(tensors[Codes], books, shape[0], inputs);
        if (books.PoolSize > 0) CheckTable(tensors[Table], books.PoolSize);
        return new CodebookWeight(name, shape[0], inputs, bias, books, new(tensors[Codes]), new(vectors), new(tensors.GetValueOrDefault(Table)), new(tensors.GetValueOrDefault(Scales))) { Activations = activations };
    }

    /// <summary>Takes a tensor of the file that belongs to no layer, if it is there.</summary>
    /// <exception cref="InvalidFileException">It has another shape or holds no real numbers.</exception>
    public CheckpointTensor? TryFind(TensorDescription expected) => checkpoint.TryGet(expected.Name, out _) ? Find(expected) : null;

    /// <summary>Every tensor of the file has been used.</summary>
    /// <exception cref="InvalidFileException">One has not.</exception>
    public void CheckNoneIsLeft()
    {
        foreach (var tensor in checkpoint.Tensors)
            if (!_used.Contains(tensor.Name)) throw Wrong($"tensor {tensor.Name} {tensor.Type} {tensor.ShapeText} is extra: no layer of the packed model has it");
    }

    private CheckpointTensor Find(TensorDescription expected)
    {
        int[] shape = [.. expected.Shape];
        // What is not packed may come in any floating-point type; that of scales and codewords is part of the format.
        var isFloat = expected.Type.IsFloatingPoint() && !Array.Exists(s_exactFloats, suffix => expected.Name.EndsWith(suffix, StringComparison.Ordinal));
        var text = $"{(isFloat ? "F16, BF16 or F32" : expected.Type)} {TensorRules.Text<int>(shape)}";
        if (!checkpoint.TryGet(expected.Name, out var tensor)) throw Wrong($"tensor {expected.Name} is missing; {text} was expected");
        if (!tensor.Shape.SequenceEqual(shape) || (isFloat ? !tensor.Type.IsFloatingPoint() : tensor.Type != expected.Type))
            throw Wrong($"tensor {expected.Name} is {tensor.Type} {tensor.ShapeText}; {text} was expected");
        _used.Add(expected.Name);
        return tensor;
    }

    private static ActivationFormat StaticActivations(int group, Dictionary<string, CheckpointTensor> tensors)
    {
        var scales = tensors[ActivationScales].ToArray();
        var bad = Array.FindIndex(scales, scale => !float.IsFinite(scale) || scale <= 0);
        return bad < 0
            ? new ActivationFormat(group) { StaticScales = scales, StaticZeros = tensors[ActivationZeros].Bytes.ToArray() }
            : throw WrongScale(tensors[ActivationScales], scales[bad]);
    }

    /// <summary>A scale is a positive finite number: its bits lie between those of zero and of infinity.</summary>
    private static void CheckScales(CheckpointTensor tensor)
    {
        var bits = MemoryMarshal.Cast<byte, ushort>(tensor.Bytes);
        var bad = bits.IndexOfAnyExceptInRange((ushort)1, BitConverter.HalfToUInt16Bits(Half.MaxValue));
        if (bad >= 0) throw WrongScale(tensor, (float)BitConverter.UInt16BitsToHalf(bits[bad]));
    }

    /// <summary>A finite half has an exponent that is not all ones.</summary>
    private static void CheckCodewords(CheckpointTensor tensor)
    {
        var bits = MemoryMarshal.Cast<byte, ushort>(tensor.Bytes);
        for (var i = 0; i < bits.Length; i++)
            if ((bits[i] & 0x7c00) == 0x7c00) throw new InvalidFileException(tensor.File, $"tensor {tensor.Name} holds {(float)BitConverter.UInt16BitsToHalf(bits[i])} in place {i}; codewords are finite");
    }

    /// <summary>Where k is no power of two, the bits of a code can say more than there is.</summary>
    private static void CheckCodes(CheckpointTensor tensor, CodebookFormat format, int outputs, int inputs)
    {
        if (BitOperations.IsPow2(format.CodebookSize)) return;
        var codes = new ushort[format.VectorsPerRow(inputs)];
        for (var row = 0; row < outputs; row++)
        {
            BitPacking.Unpack(tensor.Bytes.Slice(row * format.RowBytes(inputs), format.RowBytes(inputs)), format.CodeBits, 0, codes);
            if (codes.AsSpan().ContainsAnyExceptInRange((ushort)0, (ushort)(format.CodebookSize - 1)))
                throw new InvalidFileException(tensor.File, $"tensor {tensor.Name} holds the code {codes.Max()} in row {row}; the codebook has {format.CodebookSize} codewords");
        }
    }

    private static void CheckTable(CheckpointTensor tensor, int poolSize)
    {
        var largest = tensor.Type == ElementType.U16 ? TensorPrimitives.Max(MemoryMarshal.Cast<byte, ushort>(tensor.Bytes)) : TensorPrimitives.Max(MemoryMarshal.Cast<byte, uint>(tensor.Bytes));
        if (largest >= poolSize) throw new InvalidFileException(tensor.File, $"tensor {tensor.Name} holds {largest}; the pool has {poolSize} vectors");
    }

    private static InvalidFileException WrongScale(CheckpointTensor tensor, float scale) =>
        new(tensor.File, $"tensor {tensor.Name} holds {scale.ToString(CultureInfo.InvariantCulture)}; scales are positive and finite");

    private InvalidFileException Wrong(string problem) => new(checkpoint.Path, problem);
}

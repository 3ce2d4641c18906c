using System.Globalization;
using System.Runtime.InteropServices;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Quantization;

/// <summary>Finds and checks the tensors of a layer in a packed file.</summary>
/// <param name="checkpoint">The open file.</param>
internal sealed class PackedTensors(ICheckpoint checkpoint)
{
    /// <summary>Suffixes of the tensors of a layer.</summary>
    public const string Weight = ".weight", Codes = ".qweight", Scales = ".scale", Zeros = ".zero", Bias = ".bias",
        ActivationScales = ".activation_scale", ActivationZeros = ".activation_zero";

    private readonly HashSet<string> _used = new(StringComparer.Ordinal);

    /// <summary>Builds a layer from its tensors.</summary>
    /// <param name="name">The layer's name.</param>
    /// <param name="shape">Shape of the weight [N, ...].</param>
    /// <param name="hasBias">Whether there is a bias.</param>
    /// <param name="format">Its entry.</param>
    /// <exception cref="InvalidFileException">A tensor is missing, of another size or type, or a scale is not positive and finite.</exception>
    public LinearWeight Read(string name, IReadOnlyList<int> shape, bool hasBias, LayerFormat format)
    {
        var tensors = format.Tensors(name, shape, hasBias ? ElementType.F16 : null).ToDictionary(t => t.Name[name.Length..], Find);
        float[]? bias = hasBias ? tensors[Bias].ToArray() : null;
        if (bias is not null) Finite.Check(bias, tensors[Bias]);
        if (format.Weights is null) return new DenseWeight(name, [tensors[Weight]], bias);
        CheckScales(tensors[Scales]);
        var inputs = shape.Skip(1).Aggregate(1, (a, b) => a * b);
        return new GroupWeight(name, shape[0], inputs, bias, format.Weights, tensors[Codes], tensors[Scales], tensors[Zeros])
        {
            Activations = format.Activations switch
            {
                ActivationMode.Dynamic => new ActivationFormat(format.Weights.GroupSize),
                ActivationMode.Static => StaticActivations(format.Weights, tensors),
                _ => null,
            },
        };
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
        // What is not packed may come in any floating-point type; the scales' is part of the format.
        var isFloat = expected.Type.IsFloatingPoint() && !expected.Name.EndsWith(Scales, StringComparison.Ordinal) && !expected.Name.EndsWith(ActivationScales, StringComparison.Ordinal);
        var text = $"{(isFloat ? "F16, BF16 or F32" : expected.Type)} {TensorRules.Text<int>(shape)}";
        if (!checkpoint.TryGet(expected.Name, out var tensor)) throw Wrong($"tensor {expected.Name} is missing; {text} was expected");
        if (!tensor.Shape.SequenceEqual(shape) || (isFloat ? !tensor.Type.IsFloatingPoint() : tensor.Type != expected.Type))
            throw Wrong($"tensor {expected.Name} is {tensor.Type} {tensor.ShapeText}; {text} was expected");
        _used.Add(expected.Name);
        return tensor;
    }

    private static ActivationFormat StaticActivations(GroupFormat format, Dictionary<string, CheckpointTensor> tensors)
    {
        var scales = tensors[ActivationScales].ToArray();
        var bad = Array.FindIndex(scales, scale => !float.IsFinite(scale) || scale <= 0);
        return bad < 0
            ? new ActivationFormat(format.GroupSize) { StaticScales = scales, StaticZeros = tensors[ActivationZeros].Bytes.ToArray() }
            : throw WrongScale(tensors[ActivationScales], scales[bad]);
    }

    /// <summary>A scale is a positive finite number: its bits lie between those of zero and of infinity.</summary>
    private static void CheckScales(CheckpointTensor tensor)
    {
        var bits = MemoryMarshal.Cast<byte, ushort>(tensor.Bytes);
        var bad = bits.IndexOfAnyExceptInRange((ushort)1, BitConverter.HalfToUInt16Bits(Half.MaxValue));
        if (bad >= 0) throw WrongScale(tensor, (float)BitConverter.UInt16BitsToHalf(bits[bad]));
    }

    private static InvalidFileException WrongScale(CheckpointTensor tensor, float scale) =>
        new(tensor.File, $"tensor {tensor.Name} holds {scale.ToString(CultureInfo.InvariantCulture)}; scales are positive and finite");

    private InvalidFileException Wrong(string problem) => new(checkpoint.Path, problem);
}

using DiTRuntime.Backends.Training;

namespace DiTRuntime.Backends;

/// <summary>The operations of <see cref="ITrainingBackend"/>.</summary>
internal static partial class TensorCheck
{
    /// <inheritdoc cref="ITrainingBackend.Multiply"/>
    public static void Multiply(IDiTBackend backend, LinearProduct product, Tensor left, Tensor right, Tensor result)
    {
        Floats(backend, left);
        Floats(backend, right);
        Floats(backend, result);
        Distinct(left, result);
        Distinct(right, result);
        var (rows, columns, leftDepth, rightDepth) = product switch
        {
            LinearProduct.Output => (left.RowCount, right.RowCount, left.RowLength, right.RowLength),
            LinearProduct.InputGradient => (left.RowCount, right.RowLength, left.RowLength, right.RowCount),
            _ => (left.RowLength, right.RowLength, left.RowCount, right.RowCount),
        };
        if (leftDepth != rightDepth) Fail(nameof(right), $"{product}: right is {Text(right.Shape)}, which does not fit left {Text(left.Shape)}");
        if (result.RowCount != rows || result.RowLength != columns)
            Fail(nameof(result), $"{product}: result is {Text(result.Shape)}, expected {rows} rows of {columns}");
    }

    /// <inheritdoc cref="ITrainingBackend.AddBias"/>
    public static void AddBias(IDiTBackend backend, Tensor bias, Tensor y)
    {
        Floats(backend, bias);
        Floats(backend, y);
        Shape(bias, nameof(bias), y.RowLength);
    }

    /// <inheritdoc cref="ITrainingBackend.BiasGradient"/>
    public static void BiasGradient(IDiTBackend backend, Tensor outputGradient, Tensor biasGradient)
    {
        Floats(backend, outputGradient);
        Floats(backend, biasGradient);
        Shape(biasGradient, nameof(biasGradient), outputGradient.RowLength);
    }

    /// <inheritdoc cref="ITrainingBackend.NormModulateForward"/>
    public static void NormModulateForward(IDiTBackend backend, Tensor x, Tensor modulation, int shiftChunk, Tensor y)
    {
        Floats(backend, x);
        Floats(backend, y);
        Rank(x, 3);
        Shape(y, nameof(y), x.Shape);
        Chunk(backend, modulation, nameof(modulation), x, shiftChunk, chunkCount: 2);
    }

    /// <inheritdoc cref="ITrainingBackend.NormModulateGradient"/>
    public static void NormModulateGradient(
        IDiTBackend backend, Tensor outputGradient, Tensor x, Tensor modulation, int shiftChunk, Tensor inputGradient, Tensor modulationGradient)
    {
        NormModulateForward(backend, x, modulation, shiftChunk, inputGradient);
        Floats(backend, outputGradient);
        Shape(outputGradient, nameof(outputGradient), x.Shape);
        Distinct(outputGradient, inputGradient);
        Distinct(x, inputGradient);
        Chunk(backend, modulationGradient, nameof(modulationGradient), x, shiftChunk, chunkCount: 2);
        Distinct(modulation, modulationGradient);
    }

    /// <inheritdoc cref="ITrainingBackend.AttentionGradient"/>
    public static void AttentionGradient(IDiTBackend backend, Tensor outputGradient, Tensor qkv, int headCount, Tensor inputGradient)
    {
        Attention(backend, qkv, headCount, outputGradient);
        Floats(backend, outputGradient);
        Floats(backend, inputGradient);
        Shape(inputGradient, nameof(inputGradient), qkv.Shape);
        Distinct(qkv, inputGradient);
    }

    /// <inheritdoc cref="ITrainingBackend.GeluForward"/>
    public static void GeluForward(IDiTBackend backend, Tensor x, Tensor y)
    {
        Floats(backend, x);
        Floats(backend, y);
        Shape(y, nameof(y), x.Shape);
    }

    /// <inheritdoc cref="ITrainingBackend.GeluGradient"/>
    public static void GeluGradient(IDiTBackend backend, Tensor outputGradient, Tensor x, Tensor inputGradient)
    {
        Floats(backend, outputGradient);
        Floats(backend, x);
        Floats(backend, inputGradient);
        Shape(outputGradient, nameof(outputGradient), x.Shape);
        Shape(inputGradient, nameof(inputGradient), x.Shape);
    }

    /// <inheritdoc cref="ITrainingBackend.GateForward"/>
    public static void GateForward(IDiTBackend backend, Tensor y, Tensor modulation, int gateChunk, Tensor x)
    {
        Floats(backend, y);
        Floats(backend, x);
        Rank(y, 3);
        Shape(x, nameof(x), y.Shape);
        Chunk(backend, modulation, nameof(modulation), y, gateChunk, chunkCount: 1);
    }

    /// <inheritdoc cref="ITrainingBackend.GateGradient"/>
    public static void GateGradient(
        IDiTBackend backend, Tensor sumGradient, Tensor y, Tensor modulation, int gateChunk, Tensor inputGradient, Tensor modulationGradient)
    {
        GateForward(backend, y, modulation, gateChunk, inputGradient);
        Floats(backend, sumGradient);
        Shape(sumGradient, nameof(sumGradient), y.Shape);
        Distinct(sumGradient, inputGradient);
        Distinct(y, inputGradient);
        Chunk(backend, modulationGradient, nameof(modulationGradient), y, gateChunk, chunkCount: 1);
        Distinct(modulation, modulationGradient);
    }

    /// <inheritdoc cref="ITrainingBackend.SquaredErrorGradient"/>
    public static void SquaredErrorGradient(IDiTBackend backend, Tensor x, Tensor target, Tensor gradient)
    {
        Floats(backend, x);
        Floats(backend, target);
        Floats(backend, gradient);
        if (target.Count != x.Count) Fail(nameof(target), $"target is {Text(target.Shape)}, x is {Text(x.Shape)}");
        if (gradient.Count != x.Count) Fail(nameof(gradient), $"gradient is {Text(gradient.Shape)}, x is {Text(x.Shape)}");
        Distinct(x, gradient);
        Distinct(target, gradient);
    }

    /// <inheritdoc cref="ITrainingBackend.Copy"/>
    public static void Copy(IDiTBackend backend, Tensor source, Tensor destination)
    {
        Floats(backend, source);
        Floats(backend, destination);
        if (destination.Count != source.Count) Fail(nameof(destination), $"destination is {Text(destination.Shape)}, source is {Text(source.Shape)}");
    }

    /// <inheritdoc cref="ITrainingBackend.Clear"/>
    public static void Clear(IDiTBackend backend, Tensor tensor) => Floats(backend, tensor);

    /// <summary>A modulation has a row of whole chunks for every sample of x, the chunks asked for among them.</summary>
    private static void Chunk(IDiTBackend backend, Tensor modulation, string name, Tensor x, int firstChunk, int chunkCount)
    {
        Floats(backend, modulation, name);
        Rank(modulation, 2, name);
        var width = x.RowLength;
        if (modulation.Shape[0] != x.Shape[0] || modulation.RowLength % width != 0 || firstChunk < 0 || firstChunk + chunkCount > modulation.RowLength / width)
            Fail(name, $"{name} is {Text(modulation.Shape)}, expected {x.Shape[0]} rows with chunks {firstChunk} to {firstChunk + chunkCount - 1} of {width} values");
    }
}

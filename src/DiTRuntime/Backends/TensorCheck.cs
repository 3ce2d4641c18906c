using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Backends;

/// <summary>
/// What every backend asks of the tensors given to an operation: its own memory, the right element type, shapes that fit.
/// One method per operation of <see cref="IDiTBackend"/> and of what extends it, with the same parameter names; a failure is an
/// <see cref="ArgumentException"/> that names the tensor, its shape and the one expected.
/// </summary>
/// <remarks>Sampling steps go through here, so the passing path allocates nothing; messages are made in cold helpers.</remarks>
internal static partial class TensorCheck
{
    /// <summary>The tensor is F32 or I32, of at least one dimension, with positive extents.</summary>
    public static void Allocate(ElementType type, ReadOnlySpan<int> shape)
    {
        if (type is not (ElementType.F32 or ElementType.I32)) Fail(nameof(type), $"tensors are F32 or I32, not {type}");
        if (shape.IsEmpty) Fail(nameof(shape), "a tensor has at least one dimension");
        foreach (var extent in shape)
            if (extent <= 0) Fail(nameof(shape), $"{Text(shape)}: extents are positive");
    }

    /// <summary>The values are of the tensor's type and not more than it holds.</summary>
    public static void Transfer<T>(IDiTBackend backend, Tensor tensor, int count, [CallerArgumentExpression(nameof(tensor))] string name = "")
        where T : unmanaged
    {
        Owned(backend, tensor, name);
        var fits = tensor.Type == ElementType.F32 ? typeof(T) == typeof(float) : typeof(T) == typeof(int);
        if (!fits) Fail(name, $"{name} holds {tensor.Type}, the values are {typeof(T).Name}");
        if (count > tensor.Count) Fail(name, $"{name} holds {tensor.Count} values, {count} were asked for");
    }

    /// <summary>The slices lie within the first dimension; those of quantized activations, whose groups may lie apart, begin at the first.</summary>
    public static void Rows(Tensor tensor, int first, int count)
    {
        if (first < 0 || count <= 0 || count > tensor.Shape[0] - first) Fail(nameof(count), $"{count} slices from {first} on of a tensor {Text(tensor.Shape)}");
        if (first > 0 && tensor.Activations is not null) Fail(nameof(first), $"slices from {first} on of quantized activations, which are cut from 0 on only");
    }

    /// <summary>The layer was prepared by this kind of backend.</summary>
    public static TPrepared Prepared<TPrepared>(object layer, [CallerArgumentExpression(nameof(layer))] string name = "")
        where TPrepared : class
    {
        if (layer is TPrepared prepared) return prepared;
        Fail(name, $"{name} was prepared by another backend");
        return null;
    }

    /// <summary>An index read from a tensor of indices lies in [0, count).</summary>
    public static void Index(int value, int count, string name)
    {
        if ((uint)value >= (uint)count) Fail(name, $"{name} holds {value}, expected an index below {count}");
    }

    /// <inheritdoc cref="IDiTBackend.TimestepFeatures"/>
    public static void TimestepFeatures(IDiTBackend backend, Tensor timesteps, Tensor frequencies, Tensor features)
    {
        Integers(backend, timesteps);
        Floats(backend, frequencies);
        Floats(backend, features);
        Rank(timesteps, 1);
        Rank(frequencies, 1);
        Shape(features, nameof(features), timesteps.Count, 2 * frequencies.Count);
    }

    /// <inheritdoc cref="IDiTBackend.Condition"/>
    public static void Condition(IDiTBackend backend, Tensor timestepEmbedding, Tensor labelTable, Tensor labels, Tensor condition)
    {
        Floats(backend, timestepEmbedding);
        Floats(backend, labelTable);
        Integers(backend, labels);
        Floats(backend, condition);
        Rank(timestepEmbedding, 2);
        var hidden = timestepEmbedding.RowLength;
        Rank(labelTable, 2);
        Shape(labelTable, nameof(labelTable), labelTable.Shape[0], hidden);
        Shape(labels, nameof(labels), timestepEmbedding.RowCount);
        Shape(condition, nameof(condition), timestepEmbedding.RowCount, hidden);
    }

    /// <inheritdoc cref="IDiTBackend.PatchEmbed"/>
    /// <returns>p, the side of a patch.</returns>
    public static int PatchEmbed(
        IDiTBackend backend, Tensor latents, Tensor imageOfSample, PreparedLinear projection, Tensor positions, Tensor tokens)
    {
        Floats(backend, latents);
        Integers(backend, imageOfSample);
        Floats(backend, positions);
        Floats(backend, tokens);
        Rank(latents, 4);
        Rank(tokens, 3);
        var channels = latents.Shape[1];
        var patch = PatchSide(projection.Inputs, channels, projection.Name);
        var side = PatchedSide(latents, patch, nameof(latents));
        Shape(positions, nameof(positions), side * side, projection.Outputs);
        Shape(tokens, nameof(tokens), imageOfSample.Count, side * side, projection.Outputs);
        return patch;
    }

    /// <inheritdoc cref="IDiTBackend.NormModulate"/>
    public static void NormModulate(IDiTBackend backend, Tensor tokens, in Modulation modulation, int shiftChunk, Tensor output)
    {
        Floats(backend, tokens);
        Activations(backend, output);
        Rank(tokens, 3);
        Shape(output, nameof(output), tokens.Shape);
        // The scale is the chunk after the shift.
        Chunk(backend, modulation, tokens.Shape[0], shiftChunk, chunkCount: 2, tokens.RowLength);
    }

    /// <inheritdoc cref="IDiTBackend.Linear"/>
    public static void Linear(IDiTBackend backend, Tensor input, PreparedLinear layer, in Epilogue epilogue, Tensor output)
    {
        Activations(backend, input);
        Activations(backend, output);
        Distinct(input, output);
        if (!Equals(input.Activations, layer.Activations))
            Fail(nameof(input), $"input is {Text(input.Activations)}, {layer.Name} takes {Text(layer.Activations)}");
        if (output.Activations is not null && (epilogue.Gate is not null || epilogue.AddsToOutput))
            Fail(nameof(output), "nothing can be added to a quantized output");
        if (input.RowLength != layer.Inputs) Fail(nameof(input), $"input is {Text(input.Shape)}, {layer.Name} takes rows of {layer.Inputs}");
        if (output.RowLength != layer.Outputs) Fail(nameof(output), $"output is {Text(output.Shape)}, {layer.Name} makes rows of {layer.Outputs}");
        if (epilogue.HeadCount < 0 || (epilogue.HeadCount > 0 && output.RowLength % (3 * epilogue.HeadCount) != 0))
            Fail(nameof(output), $"output is {Text(output.Shape)}, expected rows of 3·{epilogue.HeadCount} heads");
        if (input.RowCount != output.RowCount) Fail(nameof(output), $"output {Text(output.Shape)} has other rows than input {Text(input.Shape)}");
        if (epilogue.Gate is not { } gate) return;
        Rank(output, 3);
        Chunk(backend, gate, output.Shape[0], epilogue.GateChunk, chunkCount: 1, output.RowLength);
    }

    /// <inheritdoc cref="IDiTBackend.Attention"/>
    public static void Attention(IDiTBackend backend, Tensor qkv, int headCount, Tensor output)
    {
        Floats(backend, qkv);
        Activations(backend, output);
        Distinct(qkv, output);
        Rank(qkv, 3);
        if (headCount <= 0 || qkv.RowLength % (3 * headCount) != 0)
            Fail(nameof(qkv), $"qkv is {Text(qkv.Shape)}, expected rows of 3·{headCount} heads");
        Shape(output, nameof(output), qkv.Shape[0], qkv.Shape[1], qkv.RowLength / 3);
    }

    /// <inheritdoc cref="IDiTBackend.Unpatchify"/>
    /// <returns>p, the side of a patch.</returns>
    public static int Unpatchify(IDiTBackend backend, Tensor patches, Tensor output)
    {
        Floats(backend, patches);
        Floats(backend, output);
        Rank(output, 4);
        var patch = PatchSide(patches.RowLength, output.Shape[1], nameof(patches));
        var side = PatchedSide(output, patch, nameof(output));
        Shape(patches, nameof(patches), output.Shape[0], side * side, patches.RowLength);
        return patch;
    }

    /// <summary>The table's step counter lies in this backend's memory.</summary>
    public static void StepCounter(IDiTBackend backend, UpdateTable updates) => Integers(backend, updates.Step);

    /// <inheritdoc cref="IDiTBackend.GuideAndUpdate"/>
    /// <param name="step">The updates the operation may apply: the current step's where the host knows it, else all.</param>
    public static void GuideAndUpdate(
        IDiTBackend backend, Tensor prediction, ReadOnlySpan<SampleUpdate> step, Tensor? noise, Tensor latents)
    {
        Floats(backend, prediction);
        Floats(backend, latents);
        Rank(prediction, 4);
        Rank(latents, 4);
        var channels = latents.Shape[1];
        var learnsVariance = prediction.Shape[1] == 2 * channels;
        Shape(prediction, nameof(prediction), prediction.Shape[0], learnsVariance ? 2 * channels : channels, latents.Shape[2], latents.Shape[3]);
        if (noise is not null)
        {
            Floats(backend, noise);
            Shape(noise, nameof(noise), 2, latents.Shape[0], channels, latents.Shape[2], latents.Shape[3]);
        }

        foreach (ref readonly var update in step)
        {
            Index(update.Image, latents.Shape[0], nameof(SampleUpdate.Image));
            Index(update.ConditionalRow, prediction.Shape[0], nameof(SampleUpdate.ConditionalRow));
            if (update.UnconditionalRow != -1) Index(update.UnconditionalRow, prediction.Shape[0], nameof(SampleUpdate.UnconditionalRow));
            Index(update.GuidedChannels, channels + 1, nameof(SampleUpdate.GuidedChannels));
            if (update.Coefficients.LearnedVariance && !learnsVariance)
                Fail(nameof(prediction), $"prediction is {Text(prediction.Shape)}: no variance channels beside the {channels} of the noise");
            if (update.Coefficients.NeedsNoise && noise is null) Fail(nameof(noise), "an update adds noise, but there is none");
        }
    }

    /// <inheritdoc cref="IDiTBackend.UploadNoise"/>
    public static void UploadNoise(IDiTBackend backend, ReadOnlySpan<float> values, Tensor noise, int stepIndex)
    {
        Floats(backend, noise);
        ArgumentOutOfRangeException.ThrowIfNegative(stepIndex);
        if (noise.Shape[0] != 2 || values.Length != noise.Count / 2)
            Fail(nameof(noise), $"noise is {Text(noise.Shape)}, expected two halves of {values.Length} values");
    }

    /// <inheritdoc cref="IDiTBackend.Convolution"/>
    public static void Convolution(IDiTBackend backend, Tensor input, PreparedConvolution layer, in ConvolutionOptions options, Tensor output)
    {
        Floats(backend, input);
        Floats(backend, output);
        Distinct(input, output);
        Rank(input, 4);
        if (input.RowLength != layer.Inputs) Fail(nameof(input), $"input is {Text(input.Shape)}, {layer.Name} takes {layer.Inputs} channels");
        var factor = options.UpsamplesInput ? 2 : 1;
        Shape(output, nameof(output), input.Shape[0], factor * input.Shape[1], factor * input.Shape[2], layer.Outputs);
        if (options.Residual is not { } residual) return;
        Floats(backend, residual);
        Shape(residual, nameof(residual), output.Shape);
    }

    /// <inheritdoc cref="IDiTBackend.GroupNorm"/>
    public static void GroupNorm(IDiTBackend backend, Tensor input, Tensor gamma, Tensor beta, in GroupNormOptions options, Tensor output)
    {
        Floats(backend, input);
        Floats(backend, gamma);
        Floats(backend, beta);
        Floats(backend, output);
        Rank(input, 4);
        Shape(gamma, nameof(gamma), input.RowLength);
        Shape(beta, nameof(beta), input.RowLength);
        Shape(output, nameof(output), input.Shape);
        if (options.GroupCount <= 0 || input.RowLength % options.GroupCount != 0)
            Fail(nameof(input), $"input is {Text(input.Shape)}, its channels do not divide into {options.GroupCount} groups");
    }

    /// <summary>The tensor lies in this backend's memory.</summary>
    public static void Owned(IDiTBackend backend, Tensor tensor, [CallerArgumentExpression(nameof(tensor))] string name = "")
    {
        if (tensor is null) Fail(name, $"{name} is missing");
        if (!ReferenceEquals(tensor.Owner, backend)) Fail(name, $"{name} belongs to another backend");
    }

    /// <summary>The tensor has exactly this shape.</summary>
    public static void Shape(Tensor tensor, string name, params ReadOnlySpan<int> expected)
    {
        if (!tensor.Shape.SequenceEqual(expected)) Fail(name, $"{name} is {Text(tensor.Shape)}, expected {Text(expected)}");
    }

    private static void Floats(IDiTBackend backend, Tensor tensor, [CallerArgumentExpression(nameof(tensor))] string name = "") =>
        OfType(backend, tensor, ElementType.F32, name);

    private static void Integers(IDiTBackend backend, Tensor tensor, [CallerArgumentExpression(nameof(tensor))] string name = "") =>
        OfType(backend, tensor, ElementType.I32, name);

    /// <summary>F32, or quantized.</summary>
    private static void Activations(IDiTBackend backend, Tensor tensor, [CallerArgumentExpression(nameof(tensor))] string name = "") =>
        OfType(backend, tensor, tensor.Activations is null ? ElementType.F32 : ElementType.U8, name);

    private static void OfType(IDiTBackend backend, Tensor tensor, ElementType type, string name)
    {
        Owned(backend, tensor, name);
        if (tensor.Type != type) Fail(name, $"{name} holds {tensor.Type}, expected {type}");
    }

    private static void Rank(Tensor tensor, int rank, [CallerArgumentExpression(nameof(tensor))] string name = "")
    {
        if (tensor.Shape.Length != rank) Fail(name, $"{name} is {Text(tensor.Shape)}, expected {rank} dimensions");
    }

    private static void Distinct(Tensor input, Tensor output)
    {
        if (ReferenceEquals(input, output)) Fail(nameof(output), "output is the input; this operation does not work in place");
    }

    /// <summary>A modulation's table has rows of whole chunks, the chunks asked for among them, and a row for each sample.</summary>
    private static void Chunk(IDiTBackend backend, in Modulation modulation, int sampleCount, int firstChunk, int chunkCount, int chunkLength)
    {
        var (table, rowOfSample, step) = modulation;
        Floats(backend, table);
        Integers(backend, rowOfSample);
        Rank(table, 2);
        if (step is null) Shape(rowOfSample, nameof(rowOfSample), sampleCount);
        else CheckSteps(backend, step, rowOfSample, sampleCount);
        var chunksPerRow = table.RowLength / chunkLength;
        if (table.RowLength % chunkLength != 0 || firstChunk < 0 || firstChunk + chunkCount > chunksPerRow)
            Fail(nameof(modulation), $"modulation table is {Text(table.Shape)}, expected chunks {firstChunk} to {firstChunk + chunkCount - 1} of {chunkLength} values in each row");
    }

    private static void CheckSteps(IDiTBackend backend, Tensor step, Tensor rowOfSample, int sampleCount)
    {
        Integers(backend, step);
        Shape(step, nameof(step), 1);
        Rank(rowOfSample, 2);
        Shape(rowOfSample, nameof(rowOfSample), rowOfSample.Shape[0], sampleCount);
    }

    /// <inheritdoc cref="Training.IClusteringBackend.AssignNearest"/>
    public static void AssignNearest(IDiTBackend backend, Tensor points, Tensor? weights, Tensor codewords, Tensor codes, Tensor distances)
    {
        Floats(backend, points);
        Floats(backend, codewords);
        Integers(backend, codes);
        Floats(backend, distances);
        Rank(points, 2);
        var (count, length) = (points.Shape[0], points.Shape[1]);
        if (length is < CodebookFormat.MinVectorLength or > CodebookFormat.MaxVectorLength) Fail(nameof(points), $"points are {Text(points.Shape)}, expected {CodebookFormat.MinVectorLength} to {CodebookFormat.MaxVectorLength} values each");
        Rank(codewords, 2);
        Shape(codewords, nameof(codewords), codewords.Shape[0], length);
        if (codewords.Shape[0] > CodebookFormat.MaxCodebookSize) Fail(nameof(codewords), $"codewords are {Text(codewords.Shape)}, expected at most {CodebookFormat.MaxCodebookSize}");
        Shape(codes, nameof(codes), count);
        Shape(distances, nameof(distances), count);
        if (weights is null) return;
        Floats(backend, weights);
        Shape(weights, nameof(weights), count, length);
    }

    private static int PatchSide(int featureCount, int channels, string name)
    {
        var patch = (int)Math.Sqrt(featureCount / channels);
        if (patch == 0 || patch * patch * channels != featureCount) Fail(name, $"{name} has {featureCount} values a patch, expected p·p·{channels}");
        return patch;
    }

    /// <summary>Patches along one side of square images [·, C, S, S].</summary>
    private static int PatchedSide(Tensor images, int patch, string name)
    {
        var side = images.Shape[3];
        if (images.Shape[2] != side || side % patch != 0) Fail(name, $"{name} is {Text(images.Shape)}, expected squares with a side divisible by {patch}");
        return side / patch;
    }

    private static string Text(ActivationFormat? format) =>
        format is null ? "in floating point" : $"quantized in groups of {format.GroupSize}{(format.StaticScales is null ? "" : " with ranges of its own")}";

    private static string Text(ReadOnlySpan<int> shape) => "[" + string.Join(",", shape.ToArray()) + "]";

    [DoesNotReturn]
    [StackTraceHidden]
    private static void Fail(string name, string problem) => throw new ArgumentException(problem, name);
}

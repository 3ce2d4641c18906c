using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;
using DiTRuntime.Imaging;

namespace DiTRuntime.Calibration.Evaluation;

/// <summary>
/// InceptionV3 as the FID uses it: the network of 2015 (Szegedy et al. 2016, table 1) with the pooling of its TensorFlow graph, its weights under the
/// names of the PyTorch port (<c>Conv2d_1a_3x3.conv.weight</c>, <c>.bn.*</c>, <c>Mixed_5b</c> … <c>Mixed_7c</c>, <c>fc.weight</c>).
/// </summary>
/// <remarks>
/// Features are the global average of the last block (2048); spatial features the first seven channels of the 1×1 branch of <c>Mixed_6d</c>, which is
/// "mixed_6/conv" in the graph (17·17·7 = 2023); class scores leave the bias out, as the ADM evaluator does.
/// </remarks>
public sealed class InceptionV3 : IFeatureExtractor
{
    private const int Side = 299;
    private const int Features = 2048;
    private const int Classes = 1008;
    private const int SpatialSide = 17;
    private const int SpatialChannels = 7;

    /// <summary>Images that go through the network together.</summary>
    private const int Together = 8;

    private readonly IDiTBackend _backend;
    private readonly Dictionary<string, InceptionLayer> _layers = new(StringComparer.Ordinal);
    private readonly PreparedLinear _classifier;

    private InceptionV3(Func<string, int[], float[]> weights, IDiTBackend backend)
    {
        _backend = backend;
        foreach (var shape in Layers) _layers.Add(shape.Name, new InceptionLayer(shape, weights, backend));
        _classifier = backend.Prepare(new MemoryWeight("fc", Classes, Features, weights("fc.weight", [Classes, Features])));
    }

    /// <inheritdoc/>
    public string Description => "InceptionV3 (2015), 2048 features";

    /// <inheritdoc/>
    public int FeatureCount => Features;

    /// <inheritdoc/>
    public int SpatialCount => SpatialSide * SpatialSide * SpatialChannels;

    /// <inheritdoc/>
    public int ClassCount => Classes;

    /// <summary>Every convolution, in the order of the forward pass.</summary>
    internal static IReadOnlyList<InceptionConvolution> Layers { get; } = ListLayers();

    /// <summary>Opens the weights.</summary>
    /// <param name="path">A safetensors or .pt file.</param>
    /// <param name="backend">Multiplies.</param>
    /// <exception cref="InvalidFileException">The file is wrong, or a tensor is missing, of another shape, or not finite; it is named.</exception>
    public static InceptionV3 Open(string path, IDiTBackend backend)
    {
        using var checkpoint = Checkpoint.Open(path);
        return new InceptionV3((name, shape) => Read(checkpoint, name, shape), backend);
    }

    /// <inheritdoc/>
    public void Extract(IReadOnlyList<Image> images, Span<float> features, Span<float> spatial, Span<float> logits)
    {
        for (var first = 0; first < images.Count; first += Together)
        {
            var count = Math.Min(Together, images.Count - first);
            var batch = new FeatureMap(new float[count * Side * Side * 3], count, Side, Side, 3);
            Parallel.For(0, count, i => WriteInput(images[first + i], batch.Values.AsSpan(i * Side * Side * 3, Side * Side * 3)));
            var (last, middle) = Forward(batch);
            var pooled = features.Slice(first * Features, count * Features);
            InceptionPooling.AverageAll(last, pooled);
            WriteSpatial(middle, spatial.Slice(first * SpatialCount, count * SpatialCount));
            Classify(pooled, count, logits.Slice(first * Classes, count * Classes));
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var layer in _layers.Values) layer.Dispose();
        _classifier.Dispose();
    }

    /// <summary>The last block's output, and that of the 1×1 branch of Mixed_6d.</summary>
    internal (FeatureMap Last, FeatureMap Middle) Forward(FeatureMap x)
    {
        x = Chain(x, "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3");
        x = Chain(InceptionPooling.MaxHalving(x), "Conv2d_3b_1x1", "Conv2d_4a_3x3");
        x = InceptionPooling.MaxHalving(x);
        foreach (var block in new[] { "Mixed_5b", "Mixed_5c", "Mixed_5d" })
        {
            x = InceptionPooling.Concatenate(
                Branch(x, block, "branch1x1"),
                Branch(x, block, "branch5x5_1", "branch5x5_2"),
                Branch(x, block, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
                Branch(InceptionPooling.Average(x), block, "branch_pool"));
        }

        x = InceptionPooling.Concatenate(
            Branch(x, "Mixed_6a", "branch3x3"), Branch(x, "Mixed_6a", "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"), InceptionPooling.MaxHalving(x));
        FeatureMap? middle = null;
        foreach (var block in new[] { "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e" })
        {
            var pointwise = Branch(x, block, "branch1x1");
            if (block == "Mixed_6d") middle = pointwise;
            x = InceptionPooling.Concatenate(
                pointwise,
                Branch(x, block, "branch7x7_1", "branch7x7_2", "branch7x7_3"),
                Branch(x, block, "branch7x7dbl_1", "branch7x7dbl_2", "branch7x7dbl_3", "branch7x7dbl_4", "branch7x7dbl_5"),
                Branch(InceptionPooling.Average(x), block, "branch_pool"));
        }

        x = InceptionPooling.Concatenate(
            Branch(x, "Mixed_7a", "branch3x3_1", "branch3x3_2"),
            Branch(x, "Mixed_7a", "branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4"),
            InceptionPooling.MaxHalving(x));
        x = LastBlock(x, "Mixed_7b", InceptionPooling.Average(x));
        // The last block of the graph pools by maximum where its twin averages.
        return (LastBlock(x, "Mixed_7c", InceptionPooling.Max(x)), middle!);
    }

    private FeatureMap LastBlock(FeatureMap x, string block, FeatureMap pooled)
    {
        var (wide, deep) = (Branch(x, block, "branch3x3_1"), Branch(x, block, "branch3x3dbl_1", "branch3x3dbl_2"));
        return InceptionPooling.Concatenate(
            Branch(x, block, "branch1x1"),
            Branch(wide, block, "branch3x3_2a"), Branch(wide, block, "branch3x3_2b"),
            Branch(deep, block, "branch3x3dbl_3a"), Branch(deep, block, "branch3x3dbl_3b"),
            Branch(pooled, block, "branch_pool"));
    }

    private FeatureMap Chain(FeatureMap x, params ReadOnlySpan<string> layers)
    {
        foreach (var layer in layers) x = _layers[layer].Apply(x);
        return x;
    }

    private FeatureMap Branch(FeatureMap x, string block, params ReadOnlySpan<string> layers)
    {
        foreach (var layer in layers) x = _layers[$"{block}.{layer}"].Apply(x);
        return x;
    }

    /// <summary>Resized to 299×299, then (v − 128)/128.</summary>
    private static void WriteInput(Image image, Span<float> output)
    {
        var values = new float[image.Width * image.Height * 3];
        for (var i = 0; i < values.Length; i++) values[i] = image.Channels == 3 ? image.Pixels[i] : image.Pixels[i / 3];
        InceptionPooling.Resize(values, image.Height, image.Width, 3, Side, output);
        foreach (ref var value in output) value = (value - 128) * (1 / 128f);
    }

    private static void WriteSpatial(FeatureMap middle, Span<float> spatial)
    {
        for (var pixel = 0; pixel < middle.PixelCount; pixel++)
            middle.Values.AsSpan(pixel * middle.Channels, SpatialChannels).CopyTo(spatial[(pixel * SpatialChannels)..]);
    }

    private void Classify(ReadOnlySpan<float> features, int count, Span<float> logits)
    {
        using var input = _backend.Allocate(ElementType.F32, count, Features);
        using var output = _backend.Allocate(ElementType.F32, count, Classes);
        _backend.Upload(features, input);
        _backend.Linear(input, _classifier, Epilogue.None, output);
        _backend.Download(output, logits);
    }

    private static float[] Read(ICheckpoint checkpoint, string name, int[] shape)
    {
        if (!checkpoint.TryGet(name, out var tensor))
            throw new InvalidFileException(checkpoint.Path, $"no tensor {name}: the InceptionV3 of the FID was expected, under the names of its PyTorch port");
        if (!tensor.Shape.SequenceEqual(shape)) throw new InvalidFileException(checkpoint.Path, $"tensor {name} has shape {tensor.ShapeText}; {TensorRules.Text<int>(shape)} was expected");
        var values = tensor.ToArray();
        Finite.Check(values, tensor);
        return values;
    }

    private static List<InceptionConvolution> ListLayers()
    {
        var layers = new List<InceptionConvolution>();
        void Add(string name, int inputs, int outputs, int height = 1, int width = 1, int stride = 1, bool padded = true) =>
            layers.Add(new InceptionConvolution(name, inputs, outputs, height, width, stride, padded));

        Add("Conv2d_1a_3x3", 3, 32, 3, 3, stride: 2, padded: false);
        Add("Conv2d_2a_3x3", 32, 32, 3, 3, padded: false);
        Add("Conv2d_2b_3x3", 32, 64, 3, 3);
        Add("Conv2d_3b_1x1", 64, 80);
        Add("Conv2d_4a_3x3", 80, 192, 3, 3, padded: false);
        foreach (var (block, inputs, pooled) in new[] { ("Mixed_5b", 192, 32), ("Mixed_5c", 256, 64), ("Mixed_5d", 288, 64) })
        {
            Add($"{block}.branch1x1", inputs, 64);
            Add($"{block}.branch5x5_1", inputs, 48);
            Add($"{block}.branch5x5_2", 48, 64, 5, 5);
            Add($"{block}.branch3x3dbl_1", inputs, 64);
            Add($"{block}.branch3x3dbl_2", 64, 96, 3, 3);
            Add($"{block}.branch3x3dbl_3", 96, 96, 3, 3);
            Add($"{block}.branch_pool", inputs, pooled);
        }

        Add("Mixed_6a.branch3x3", 288, 384, 3, 3, stride: 2, padded: false);
        Add("Mixed_6a.branch3x3dbl_1", 288, 64);
        Add("Mixed_6a.branch3x3dbl_2", 64, 96, 3, 3);
        Add("Mixed_6a.branch3x3dbl_3", 96, 96, 3, 3, stride: 2, padded: false);
        foreach (var (block, inner) in new[] { ("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192) })
        {
            Add($"{block}.branch1x1", 768, 192);
            Add($"{block}.branch7x7_1", 768, inner);
            Add($"{block}.branch7x7_2", inner, inner, 1, 7);
            Add($"{block}.branch7x7_3", inner, 192, 7, 1);
            Add($"{block}.branch7x7dbl_1", 768, inner);
            Add($"{block}.branch7x7dbl_2", inner, inner, 7, 1);
            Add($"{block}.branch7x7dbl_3", inner, inner, 1, 7);
            Add($"{block}.branch7x7dbl_4", inner, inner, 7, 1);
            Add($"{block}.branch7x7dbl_5", inner, 192, 1, 7);
            Add($"{block}.branch_pool", 768, 192);
        }

        Add("Mixed_7a.branch3x3_1", 768, 192);
        Add("Mixed_7a.branch3x3_2", 192, 320, 3, 3, stride: 2, padded: false);
        Add("Mixed_7a.branch7x7x3_1", 768, 192);
        Add("Mixed_7a.branch7x7x3_2", 192, 192, 1, 7);
        Add("Mixed_7a.branch7x7x3_3", 192, 192, 7, 1);
        Add("Mixed_7a.branch7x7x3_4", 192, 192, 3, 3, stride: 2, padded: false);
        foreach (var (block, inputs) in new[] { ("Mixed_7b", 1280), ("Mixed_7c", 2048) })
        {
            Add($"{block}.branch1x1", inputs, 320);
            Add($"{block}.branch3x3_1", inputs, 384);
            Add($"{block}.branch3x3_2a", 384, 384, 1, 3);
            Add($"{block}.branch3x3_2b", 384, 384, 3, 1);
            Add($"{block}.branch3x3dbl_1", inputs, 448);
            Add($"{block}.branch3x3dbl_2", 448, 384, 3, 3);
            Add($"{block}.branch3x3dbl_3a", 384, 384, 1, 3);
            Add($"{block}.branch3x3dbl_3b", 384, 384, 3, 1);
            Add($"{block}.branch_pool", inputs, 192);
        }

        return layers;
    }
}

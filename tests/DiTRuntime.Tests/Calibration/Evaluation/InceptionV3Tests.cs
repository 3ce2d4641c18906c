using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Evaluation;
using DiTRuntime.Checkpoints;
using DiTRuntime.Tests.Checkpoints;
using DiTRuntime.Tests.Models;

namespace DiTRuntime.Tests.Calibration.Evaluation;

public sealed class InceptionV3Tests
{
    private readonly CpuBackend _backend = CpuBackend.Create(new CpuOptions(2));

    [OneTimeTearDown]
    public void EndBackend() => _backend.Dispose();

    [Test]
    public void The_network_has_the_convolutions_of_the_published_one()
    {
        var layers = InceptionV3.Layers;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(layers, Has.Count.EqualTo(94));
            Assert.That(layers.Select(l => l.Name).Distinct().Count(), Is.EqualTo(94));
            // torchvision counts 21,785,568 parameters without the auxiliary head and the last layer: kernels, γ and β.
            Assert.That(layers.Sum(l => (long)l.Depth * l.Outputs + 2 * l.Outputs), Is.EqualTo(21_785_568));
            Assert.That(Shape("Conv2d_1a_3x3"), Is.EqualTo((32, 3, 3, 3)));
            Assert.That(Shape("Mixed_5b.branch5x5_2"), Is.EqualTo((64, 48, 5, 5)));
            Assert.That(Shape("Mixed_6c.branch7x7dbl_5"), Is.EqualTo((192, 160, 1, 7)));
            Assert.That(Shape("Mixed_7b.branch3x3_2a"), Is.EqualTo((384, 384, 1, 3)));
            Assert.That(Shape("Mixed_7c.branch_pool"), Is.EqualTo((192, 2048, 1, 1)));
        }

        (int, int, int, int) Shape(string name)
        {
            var layer = layers.Single(l => l.Name == name);
            return (layer.Outputs, layer.Inputs, layer.KernelHeight, layer.KernelWidth);
        }
    }

    [TestCase(3, 3, 2, false)]
    [TestCase(1, 7, 1, true)]
    [TestCase(7, 1, 1, true)]
    [TestCase(5, 5, 1, true)]
    [TestCase(1, 1, 1, true)]
    public void A_convolution_with_its_norm_agrees_with_the_definition(int kernelHeight, int kernelWidth, int stride, bool padded)
    {
        var shape = new InceptionConvolution("layer", 3, 4, kernelHeight, kernelWidth, stride, padded);
        var weights = new Dictionary<string, float[]>();
        var random = new Random(2);
        float[] Weights(string name, int[] extents)
        {
            // Variances are positive.
            float[] values = [.. Enumerable.Range(0, extents.Aggregate(1, (a, b) => a * b)).Select(_ => (float)random.NextDouble() - (name.EndsWith("running_var", StringComparison.Ordinal) ? 0 : 0.5f))];
            return weights[name["layer.".Length..]] = values;
        }

        using var layer = new InceptionLayer(shape, Weights, _backend);
        var input = Map(2, 9, 8, 3, seed: 1);
        var output = layer.Apply(input);
        var (padY, padX) = padded ? (kernelHeight / 2, kernelWidth / 2) : (0, 0);
        for (var n = 0; n < 2; n++)
            for (var y = 0; y < output.Height; y++)
                for (var x = 0; x < output.Width; x++)
                    for (var o = 0; o < 4; o++)
                    {
                        double sum = 0;
                        for (var c = 0; c < 3; c++)
                            for (var ky = 0; ky < kernelHeight; ky++)
                                for (var kx = 0; kx < kernelWidth; kx++)
                                {
                                    var (iy, ix) = (y * stride + ky - padY, x * stride + kx - padX);
                                    if (iy < 0 || ix < 0 || iy >= 9 || ix >= 8) continue;
                                    sum += weights["conv.weight"][((o * 3 + c) * kernelHeight + ky) * kernelWidth + kx] * (double)input.Values[((n * 9 + iy) * 8 + ix) * 3 + c];
                                }

                        var normed = (sum - weights["bn.running_mean"][o]) / Math.Sqrt(weights["bn.running_var"][o] + 0.001) * weights["bn.weight"][o] + weights["bn.bias"][o];
                        Assert.That(output.Values[((n * output.Height + y) * output.Width + x) * 4 + o], Is.EqualTo(Math.Max(normed, 0)).Within(1e-4));
                    }

        Assert.That((output.Height, output.Width), Is.EqualTo(padded ? (9, 8) : (4, 3)));
    }

    [Test]
    public void Means_at_the_border_are_over_what_lies_inside()
    {
        var input = new FeatureMap([1, 2, 3, 4, 5, 6], 1, 2, 3, 1);
        Assert.That(InceptionPooling.Average(input).Values, Is.EqualTo(new[] { 3f, 3.5f, 4, 3, 3.5f, 4 }).Within(1e-6));
        Assert.That(InceptionPooling.Max(input).Values, Is.EqualTo(new[] { 5f, 6, 6, 5, 6, 6 }));
    }

    [Test]
    public void Halving_takes_windows_without_padding()
    {
        var input = new FeatureMap([.. Enumerable.Range(0, 30).Select(i => (float)i)], 1, 5, 6, 1);
        var output = InceptionPooling.MaxHalving(input);
        Assert.That((output.Height, output.Width), Is.EqualTo((2, 2)));
        Assert.That(output.Values, Is.EqualTo(new[] { 14f, 16, 26, 28 }));
    }

    [Test]
    public void Resizing_reads_at_multiples_of_the_scale_and_stops_at_the_border()
    {
        var output = new float[16];
        InceptionPooling.Resize([0, 10, 20, 30], 2, 2, 1, 4, output);
        // Positions 0, ½, 1, 1½ along both axes; beyond the last pixel its value stays.
        Assert.That(output, Is.EqualTo(new float[] { 0, 5, 10, 10, 10, 15, 20, 20, 20, 25, 30, 30, 20, 25, 30, 30 }));
    }

    [Test]
    public void The_whole_network_turns_an_image_into_2048_2023_and_1008_values()
    {
        using var folder = new TestFolder();
        var path = folder["inception.safetensors"];
        WriteSynthetic(path);
        using var network = InceptionV3.Open(path, _backend);
        var images = new[] { Imaging.TestImages.Make(20, 30, 3), Imaging.TestImages.Make(20, 30, 1, seed: 2) };
        float[] features = new float[2 * 2048], spatial = new float[2 * 2023], logits = new float[2 * 1008];
        network.Extract(images, features, spatial, logits);
        using (Assert.EnterMultipleScope())
        {
            Assert.That((network.FeatureCount, network.SpatialCount, network.ClassCount), Is.EqualTo((2048, 2023, 1008)));
            foreach (var values in new[] { features, spatial, logits })
            {
                var (first, second) = (values[..(values.Length / 2)], values[(values.Length / 2)..]);
                Assert.That(first.Distinct().Count(), Is.GreaterThan(50));
                Assert.That(first, Is.Not.EqualTo(second));
                Assert.That(values, Is.All.Matches<float>(float.IsFinite));
            }
        }
    }

    [Test]
    public void A_tensor_of_another_shape_is_named()
    {
        using var folder = new TestFolder();
        var path = TensorFiles.Write(folder["w.safetensors"], [TensorValues.Of("Conv2d_1a_3x3.conv.weight", [32, 3, 3, 1], new float[288])]);
        Assert.That(Refusal.Of(path, () => InceptionV3.Open(path, _backend)), Does.Contain("Conv2d_1a_3x3.conv.weight").And.Contain("[32,3,3,3]"));
        var other = TensorFiles.Write(folder["v.safetensors"], [TensorValues.Of("x", [1], new float[1])]);
        Assert.That(Refusal.Of(other, () => InceptionV3.Open(other, _backend)), Does.Contain("no tensor Conv2d_1a_3x3.conv.weight"));
    }

    private static FeatureMap Map(int count, int height, int width, int channels, int seed)
    {
        var random = new Random(seed);
        return new FeatureMap([.. Enumerable.Range(0, count * height * width * channels).Select(_ => (float)random.NextDouble() - 0.5f)], count, height, width, channels);
    }

    /// <summary>Weights that keep the size of values from layer to layer.</summary>
    private static void WriteSynthetic(string path)
    {
        var tensors = new List<TensorDescription>();
        foreach (var layer in InceptionV3.Layers)
        {
            tensors.Add(new TensorDescription($"{layer.Name}.conv.weight", ElementType.F32, [layer.Outputs, layer.Inputs, layer.KernelHeight, layer.KernelWidth]));
            foreach (var norm in new[] { "weight", "bias", "running_mean", "running_var" }) tensors.Add(new TensorDescription($"{layer.Name}.bn.{norm}", ElementType.F32, [layer.Outputs]));
        }

        tensors.Add(new TensorDescription("fc.weight", ElementType.F32, [1008, 2048]));
        var random = new Random(1);
        AtomicFile.Write(path, stream => SafetensorsWriter.Write(stream, new Dictionary<string, string>(), tensors, (tensor, output) =>
        {
            var isKernel = tensor.Shape.Count > 1;
            var bound = isKernel ? MathF.Sqrt(6f * tensor.Shape[0] / tensor.Count) : 0;
            var fill = tensor.Name.EndsWith("bn.weight", StringComparison.Ordinal) || tensor.Name.EndsWith("running_var", StringComparison.Ordinal) ? 1f : 0f;
            var values = new float[tensor.Count];
            for (var i = 0; i < values.Length; i++) values[i] = isKernel ? ((float)random.NextDouble() * 2 - 1) * bound : fill;
            output.Write(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(values));
        }));
    }
}

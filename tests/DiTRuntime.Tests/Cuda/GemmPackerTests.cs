using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Backends;

namespace DiTRuntime.Tests.Cuda;

/// <summary>Weights on their way to the device.</summary>
[TestFixture]
internal sealed class GemmPackerTests
{
    [Test]
    public void Layers_larger_than_the_staging_buffer_arrive_whole()
    {
        using var weights = new RandomWeights(1);
        var weight = weights.Linear(1100, 2304);
        using var packer = new LinearPacker(TestDevice.Device);
        using var layer = packer.Pack(weight);
        var layout = layer.Layout;
        Assert.That(layer.ByteCount, Is.EqualTo(69L * layout.RecordBytes).And.GreaterThan(4 << 20));
        using var copy = TestDevice.Device.Allocate(layer.ByteCount);
        TestDevice.Stream.Copy(layer.Storage, copy.Pointer, layer.ByteCount);
        var bytes = TestDevice.Download<byte>(copy, (int)layer.ByteCount);
        var record = new byte[layout.RecordBytes];
        var one = new RecordPacker(weight, layout);
        for (var i = 0; i < 69; i++)
        {
            one.Pack(16 * i, record);
            Assert.That(bytes.AsSpan(i * record.Length, record.Length).SequenceEqual(record), Is.True, $"record {i}");
        }
    }

    [Test]
    public void Weights_of_two_to_four_bits_take_half_a_byte()
    {
        foreach (var (bits, bytes) in new[] { (2, 0.5), (3, 0.5), (4, 0.5), (5, 1.0), (6, 1.0), (8, 1.0) })
        {
            var layout = WeightLayout.Of(new GemmLayer(16, 256, bits, 128, new Random(1)).ToWeight(quantizesInput: true));
            Assert.That(layout.CorrectionsAt, Is.EqualTo(16 * 256 * bytes), $"{bits} bits");
        }
    }

    [Test]
    public void A_weight_beyond_the_range_of_a_half_is_refused()
    {
        using var weights = new RandomWeights(1);
        var values = new float[16 * 8];
        values[77] = -70_000;
        var weight = new DenseWeight("blocks.3.mlp.fc1", [weights.Tensor("w", values, 16, 8)], null);
        using var packer = new LinearPacker(TestDevice.Device);
        var error = Assert.Throws<InvalidFileException>(() => packer.Pack(weight))!;
        Assert.That(error.Message, Does.Contain("blocks.3.mlp.fc1").And.Contain("65504"));
        using var next = packer.Pack(weights.Linear(16, 8));
        Assert.That(next.ByteCount, Is.Positive, "the packer lives on");
    }

    [Test]
    public void A_zero_point_s_contribution_beyond_the_range_of_a_half_is_refused()
    {
        var layer = new GemmLayer(16, 256, 8, 0, new Random(1), scale: () => (Half)2);
        using var packer = new LinearPacker(TestDevice.Device);
        var error = Assert.Throws<InvalidFileException>(() => packer.Pack(layer.ToWeight(quantizesInput: true)))!;
        Assert.That(error.Message, Does.Contain("layer").And.Contain("zero point"));
    }

    [Test]
    public void Groups_of_activations_are_those_of_the_weight()
    {
        var weight = new GemmLayer(16, 256, 8, 64, new Random(1)).ToWeight(quantizesInput: false);
        using var packer = new LinearPacker(TestDevice.Device);
        var other = new GroupWeight("layer", 16, 256, null, weight.Format, weight.Codes.ToArray(), weight.Scales.ToArray(), new byte[weight.Format.ZeroBytes(16, 256)]) { Activations = new ActivationFormat(128) };
        Assert.That(() => packer.Pack(other), Throws.ArgumentException.With.Message.Contains("64").And.Message.Contains("128"));
    }
}

using DiTRuntime.Exporter.Decoding;
using DiTRuntime.Exporter.Files;
using DiTRuntime.Models;
using DiTRuntime.Tests.Checkpoints;
using DiTRuntime.Tests.Models;

namespace DiTRuntime.Tests.Exporter;

[TestFixture]
internal sealed class DecoderTraceTests
{
    private static string Kl => TestFiles.Golden("vae");

    [Test]
    public void Autoencoder_kl_is_traced_from_latent_to_image()
    {
        using var weights = PackedFiles.Tiny();
        using var trace = DecoderTrace.Of(Kl, weights.Config);
        var tensors = trace.FileTensors();
        var side = (uint)weights.Config.InputSize;
        using (Assert.EnterMultipleScope())
        {
            Assert.That((trace.Kind, trace.TileSide, trace.ScalingFactor, trace.ShiftFactor), Is.EqualTo((FileDecoder.Kl, (int)side, 0.18215f, 0f)));
            Assert.That(tensors[trace.Input], Is.EqualTo(new FileTensor { Height = side, Width = side, Channels = 4 }));
            Assert.That(tensors[trace.Output], Is.EqualTo(new FileTensor { Height = side * (uint)trace.Upscale, Width = side * (uint)trace.Upscale, Channels = 3 }));
            Assert.That(trace.Operations.OfType<TracedAttention>().Count(), Is.EqualTo(1));
            Assert.That(trace.Operations.OfType<TracedProduct>().Select(product => product.Adds), Is.EqualTo(new[] { false, true }));
            Assert.That(trace.Operations.OfType<TracedConvolve>().Count(convolve => convolve.Upsamples), Is.EqualTo((int)Math.Log2(trace.Upscale)));
            Assert.That(trace.Operations.OfType<TracedNorm>().All(norm => norm.Gamma.Length > 0 && norm.Beta.Length == norm.Gamma.Length));
            Assert.That(trace.Operations[^1], Is.InstanceOf<TracedConvolve>().With.Property("Output").EqualTo(trace.Output));
        }
    }

    [Test]
    public void Operations_read_what_was_written_before_them()
    {
        using var weights = PackedFiles.Tiny();
        using var trace = DecoderTrace.Of(Kl, weights.Config);
        var written = new HashSet<uint> { trace.Input };
        foreach (var operation in trace.Operations)
        {
            Assert.That(written, Does.Contain(operation.Input));
            if (operation is TracedConvolve { Residual: { } residual }) Assert.That(written, Does.Contain(residual));
            if (operation is TracedProduct { Adds: true }) Assert.That(written, Does.Contain(operation.Output));
            written.Add(operation.Output);
        }
    }

    [Test]
    public void Weights_of_convolutions_are_written_tap_by_tap()
    {
        using var folder = new TestFolder();
        using var weights = PackedFiles.Tiny();
        using var trace = DecoderTrace.Of(Kl, weights.Config);
        WeightsFile.Of(weights, trace, Compatibility.Official, new FilePlan(1, 10, 20, 0, 0, 4)).Write(folder["w.dit"]);
        var file = new ExportedFile(folder["w.dit"]);
        var operation = file.Operations[^1];
        var layer = file.Layers[operation.Layer];
        var convolve = (TracedConvolve)trace.Operations[^1];
        var stored = convolve.Weight.ToArray();
        Assert.That((layer.KernelSize, layer.Outputs, layer.Inputs, layer.Element), Is.EqualTo((3u, 3u, (uint)convolve.Weight.Inputs, FileElement.F16)));
        var found = file.Values<Half>(layer.Weight);
        for (var tap = 0; tap < 9; tap++)
            for (var i = 0; i < 3 * layer.Inputs; i++)
                Assert.That((float)found[tap * 3 * layer.Inputs + i], Is.EqualTo(stored[i * 9 + tap]));
        Assert.That(file.Header.LayerCount, Is.EqualTo(weights.Layers.Count() + trace.Operations.Count(o => o is TracedConvolve or TracedProduct)));
    }

    [Test]
    public void Smaller_tiles_make_smaller_tensors()
    {
        using var weights = PackedFiles.Tiny();
        using var whole = DecoderTrace.Of(Kl, weights.Config);
        using var tile = DecoderTrace.Of(Kl, weights.Config, whole.TileSide / 2);
        Assert.That(tile.TileSide, Is.EqualTo(whole.TileSide / 2));
        Assert.That(tile.Tensors.Sum(tensor => tensor.Count), Is.EqualTo(whole.Tensors.Sum(tensor => tensor.Count) / 4));
        Assert.That(tile.Operations, Has.Count.EqualTo(whole.Operations.Count));
    }

    [Test]
    public void Pixels_need_no_operations()
    {
        using var weights = DiTWeightsLoader.Load(TestFiles.DigitModel);
        using var trace = DecoderTrace.Of(null, weights.Config);
        Assert.That((trace.Kind, trace.TileSide, trace.Upscale, trace.ImageChannels), Is.EqualTo((FileDecoder.Pixels, 32, 1, 1)));
        Assert.That((trace.Operations.Count, trace.Tensors.Count, trace.Input), Is.EqualTo((0, 0, FileHeader.None)));
    }

    [Test]
    public void Decoder_of_other_latents_is_refused()
    {
        using var weights = DiTWeightsLoader.Load(TestFiles.DigitModel);
        Assert.That(() => DecoderTrace.Of(Kl, weights.Config), Throws.TypeOf<UsageException>().With.Message.Contains("4 channels"));
    }
}

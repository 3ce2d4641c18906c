using DiTRuntime.Cuda;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Exporter;
using DiTRuntime.Models;
using DiTRuntime.Tests.Checkpoints;
using DiTRuntime.Tests.Cuda.Engine;

namespace DiTRuntime.Tests.Exporter.Cuda;

/// <summary>The player on a GPU, where there is one.</summary>
[TestFixture]
internal sealed class NativePlayerTests
{
    [TestCase("f16")]
    [TestCase("w4a8-g96")]
    public void Images_are_those_of_the_engine_on_the_same_gpu(string format)
    {
        var probe = CudaDevice.Probe();
        if (probe.Devices.FirstOrDefault(device => device.Problem is null) is not { } gpu) throw new IgnoreException($"no GPU here: {probe.Problem ?? probe.Devices[0].Problem}");
        using var folder = new TestFolder();
        var source = new ExportSource("digits", () => DigitModels.Open(format), null);
        var run = new PlayedRun(8, "ddpm", 2, 5, [3, 7, 3]);
        using var engine = CudaEngine.OpenGpu(ordinal: gpu.Ordinal);
        var expected = PlayerTests.Draw(engine, source, run, Compatibility.Official);
        var weights = Player.Export(folder, source, settings => settings with { Batch = 2 }, $"sm_{gpu.Architecture}");
        var (code, text) = Player.Run(Player.Native, weights, folder["out"], run);
        Assert.That(code, Is.Zero, text);
        var actual = Player.Read(folder["out"], expected[0].Latent.Length, expected[0].Pixels.Length);
        for (var i = 0; i < actual.Length; i++) Assert.That(actual[i].Pixels, Is.EqualTo(expected[i].Pixels), $"image {i}");
    }
}

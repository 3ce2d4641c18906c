using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Cuda;

/// <summary>The choice of a tile.</summary>
[TestFixture]
internal sealed class GemmConfigurationTests
{
    private static readonly GpuProperties[] s_devices =
    [
        Properties("A100", 80, 108, 163), Properties("3090", 86, 82, 99), Properties("Orin", 87, 16, 163), Properties("4090", 89, 128, 99), Properties("H200", 90, 132, 227),
    ];

    [Test]
    public void Every_product_of_the_model_fits_every_device([Values(0, 32, 64, 72, 96, 128, 144, 288)] int group, [Values(3, 8)] int bits, [Values] bool quantizesInput)
    {
        using var layer = new GemmLayer(1152, 1152, bits, group, new Random(1)).Pack(quantizesInput);
        foreach (var device in s_devices)
        {
            foreach (var rows in new[] { 1, 64, 512, 8192, 32768 })
            {
                foreach (var outputGroup in new[] { 0, 32, 72, 96, 128, 144, 288 })
                {
                    var problem = new GemmProblem
                    {
                        Rows = rows, Layer = layer, Epilogue = outputGroup == 0 ? GemmEpilogue.Store : GemmEpilogue.Quantize, OutputFormat = new ActivationFormat(outputGroup),
                    };
                    var choice = GemmConfiguration.Choose(problem, device);
                    Assert.That(choice.SharedBytes(layer.Layout), Is.LessThanOrEqualTo(device.SharedMemoryPerBlock));
                    if (outputGroup != 0) Assert.That(choice.Tile.Columns % outputGroup, Is.Zero);
                }
            }
        }
    }

    [Test]
    public void Few_rows_get_small_tiles_and_many_rows_large_ones()
    {
        using var layer = new GemmLayer(1152, 1152, 8, 128, new Random(1)).Pack(quantizesInput: true);
        var (few, many) = (Choose(512), Choose(32768));
        Assert.That(few.Rows * few.Columns, Is.LessThan(many.Rows * many.Columns));
        Assert.That(many, Is.EqualTo(new GemmTile(128, 192, 2, 4)));

        GemmTile Choose(int rows) => GemmConfiguration.Choose(new GemmProblem { Rows = rows, Layer = layer }, s_devices[^1]).Tile;
    }

    [TestCase(4608, 128, true)]
    [TestCase(4608, 288, true)]
    [TestCase(4608, 144, true)]
    [TestCase(4608, 0, false)]
    [TestCase(4608, 256, false)]
    [TestCase(128, 0, true)]
    [TestCase(4608, 18, false)]
    [TestCase(126, 32, false)]
    public void Outputs_can_be_quantized_where_groups_lie_in_a_tile(int outputs, int group, bool expected) =>
        Assert.That(GemmKernel.CanQuantizeOutput(outputs, new ActivationFormat(group)), Is.EqualTo(expected));

    [Test]
    public void Problems_that_do_not_fit_are_refused_with_the_layer_named()
    {
        using var layer = new GemmLayer(1152, 64, 8, 0, new Random(1)).Pack(quantizesInput: false);
        var problem = new GemmProblem { Rows = 6, Layer = layer };
        Refused(problem with { InputStride = 60 });
        Refused(problem with { InputStride = 56 });
        Refused(problem with { Input = new DevicePointer(8) });
        Refused(problem with { Epilogue = GemmEpilogue.Quantize, OutputFormat = new ActivationFormat(0) });
        Refused(problem with { Epilogue = GemmEpilogue.Heads, HeadCount = 5, Tokens = 3 });
        Refused(problem with { Epilogue = GemmEpilogue.GatedResidual, Tokens = 4 });

        void Refused(GemmProblem wrong) => Assert.That(() => GemmRun.Kernel.Launch(TestDevice.Stream, wrong), Throws.ArgumentException.With.Message.Contains("layer"));
    }

    private static GpuProperties Properties(string name, int architecture, int multiprocessors, int sharedKilobytes) =>
        new(name, architecture, multiprocessors, sharedKilobytes << 10, 40 << 20, 12040, IsEmulated: false);
}

using DiTRuntime.Models;

namespace DiTRuntime.Tests.Models;

/// <summary>The forward pass against values computed with the published code.</summary>
[TestFixture]
internal sealed class DiTModelTests
{
    private const double ForwardTolerance = 1e-5;

    private static GoldenTensors Expected => TinyModel.Expected;

    [Test]
    public void Forward_agrees_with_the_published_model([ValueSource(typeof(TinyModel), nameof(TinyModel.Layouts))] string layout, [Values("cpu", "reference")] string backend)
    {
        using var tiny = new TinyModel(TinyModel.CreateBackend(backend), layout);
        var output = tiny.Forward(Expected.F32("forward.x"), TinyModel.Integers("forward.t"), TinyModel.Integers("forward.y"));
        Assert.That(Relative.Error(output, Expected.F32("forward.out")), Is.LessThanOrEqualTo(ForwardTolerance));
    }

    [Test]
    public void Forward_agrees_with_diffusers([ValueSource(typeof(TinyModel), nameof(TinyModel.Layouts))] string layout, [Values("cpu", "reference")] string backend)
    {
        using var tiny = new TinyModel(TinyModel.CreateBackend(backend), layout, Compatibility.Diffusers);
        var output = tiny.Forward(Expected.F32("forward.x"), TinyModel.Integers("forward.t"), TinyModel.Integers("forward.y"));
        Assert.That(Relative.Error(output, Expected.F32("diffusers.forward.out")), Is.LessThanOrEqualTo(ForwardTolerance));
        Assert.That(Relative.Error(output, Expected.F32("forward.out")), Is.GreaterThan(1e-4), "the two readings differ");
    }

    [Test]
    public void Every_block_agrees_with_the_published_model([Values("cpu", "reference")] string backend)
    {
        using var tiny = new TinyModel(TinyModel.CreateBackend(backend));
        tiny.AssertBlocks(ForwardTolerance);
    }

    [Test]
    public void Timestep_embedding_agrees_with_the_published_model([Values("cpu", "reference")] string backend)
    {
        using var tiny = new TinyModel(TinyModel.CreateBackend(backend));
        using var table = new ModulationTable(tiny.Backend, tiny.Model.Config, 4);
        tiny.Model.Conditioner.Fill(TinyModel.Integers("forward.t"), TinyModel.Integers("forward.y"), table);
        Assert.That(Relative.Error(tiny.Read(table.Timestep), Expected.F32("forward.t_emb")), Is.LessThanOrEqualTo(ForwardTolerance));
    }

    [Test]
    public void Sample_has_the_same_bits_in_any_batch()
    {
        using var tiny = new TinyModel(TinyModel.CreateBackend("cpu"));
        tiny.AssertSamplesAreIndependent();
    }

    [Test]
    public void Label_outside_the_table_is_refused()
    {
        using var tiny = new TinyModel(TinyModel.CreateBackend("cpu"));
        using var table = new ModulationTable(tiny.Backend, tiny.Model.Config, 1);
        Assert.That(() => tiny.Model.Conditioner.Fill([0], [11], table), Throws.InstanceOf<UsageException>().With.Message.Contains("class 11"));
    }
}

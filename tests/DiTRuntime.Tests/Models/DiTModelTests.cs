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
        var output = tiny.Forward(Expected.F32("forward.x"), Integers("forward.t"), Integers("forward.y"));
        Assert.That(Relative.Error(output, Expected.F32("forward.out")), Is.LessThanOrEqualTo(ForwardTolerance));
    }

    [Test]
    public void Forward_agrees_with_diffusers([ValueSource(typeof(TinyModel), nameof(TinyModel.Layouts))] string layout, [Values("cpu", "reference")] string backend)
    {
        using var tiny = new TinyModel(TinyModel.CreateBackend(backend), layout, Compatibility.Diffusers);
        var output = tiny.Forward(Expected.F32("forward.x"), Integers("forward.t"), Integers("forward.y"));
        Assert.That(Relative.Error(output, Expected.F32("diffusers.forward.out")), Is.LessThanOrEqualTo(ForwardTolerance));
        Assert.That(Relative.Error(output, Expected.F32("forward.out")), Is.GreaterThan(1e-4), "the two readings differ");
    }

    [Test]
    public void Every_block_agrees_with_the_published_model([Values("cpu", "reference")] string backend)
    {
        using var tiny = new TinyModel(TinyModel.CreateBackend(backend));
        string[] names = ["forward.tokens0", "forward.block0", "forward.block1"];
        var seen = 0;
        tiny.Forward(Expected.F32("forward.x"), Integers("forward.t"), Integers("forward.y"), (block, tokens) =>
        {
            Assert.That(Relative.Error(tiny.Read(tokens), Expected.F32(names[block + 1])), Is.LessThanOrEqualTo(ForwardTolerance), names[block + 1]);
            seen++;
        });
        Assert.That(seen, Is.EqualTo(names.Length));
    }

    [Test]
    public void Timestep_embedding_agrees_with_the_published_model([Values("cpu", "reference")] string backend)
    {
        using var tiny = new TinyModel(TinyModel.CreateBackend(backend));
        using var table = new ModulationTable(tiny.Backend, tiny.Model.Config, 4);
        tiny.Model.Conditioner.Fill(Integers("forward.t"), Integers("forward.y"), table);
        Assert.That(Relative.Error(tiny.Read(table.Timestep), Expected.F32("forward.t_emb")), Is.LessThanOrEqualTo(ForwardTolerance));
    }

    [Test]
    public void Sample_has_the_same_bits_in_any_batch()
    {
        using var tiny = new TinyModel(TinyModel.CreateBackend("cpu"));
        var (x, t, y) = (Expected.F32("forward.x"), Integers("forward.t"), Integers("forward.y"));
        var together = tiny.Forward(x, t, y);
        for (var i = 0; i < 4; i++)
        {
            var alone = tiny.Forward(x[(i * x.Length / 4)..((i + 1) * x.Length / 4)], [t[i]], [y[i]]);
            Assert.That(alone.AsSpan().SequenceEqual(together.AsSpan(i * alone.Length, alone.Length)), $"sample {i}");
        }
    }

    [Test]
    public void Label_outside_the_table_is_refused()
    {
        using var tiny = new TinyModel(TinyModel.CreateBackend("cpu"));
        using var table = new ModulationTable(tiny.Backend, tiny.Model.Config, 1);
        Assert.That(() => tiny.Model.Conditioner.Fill([0], [11], table), Throws.InstanceOf<UsageException>().With.Message.Contains("class 11"));
    }

    private static int[] Integers(string name) => [.. Expected.I64(name).Select(v => (int)v)];
}

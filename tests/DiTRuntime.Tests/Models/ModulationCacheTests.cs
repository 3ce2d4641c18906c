using DiTRuntime.Backends.Cpu;
using DiTRuntime.Models;
using DiTRuntime.Sampling;
using DiTRuntime.Tests.Backends;

namespace DiTRuntime.Tests.Models;

/// <summary>Which rows are computed, shared, kept and let go of.</summary>
[TestFixture]
internal sealed class ModulationCacheTests
{
    private static readonly SamplingPlan s_four = RollingScene.Plan("ddim", "leading", 4);
    private static readonly SamplingPlan s_six = RollingScene.Plan("ddim", "leading", 6);

    private int _filled;
    private TinyModel _tiny = null!;

    [SetUp]
    public void Open()
    {
        _filled = 0;
        var backend = new HookedBackend(CpuBackend.Create(new CpuOptions(1)));
        backend.Before = name => _filled += name == nameof(HookedBackend.Condition) ? 1 : 0;
        _tiny = new TinyModel(backend);
    }

    [TearDown]
    public void Close() => _tiny.Dispose();

    [Test]
    public void Samplers_of_the_same_timesteps_share_rows()
    {
        using var cache = Create(20);
        var first = Take(cache, s_four, 1);
        Assert.That(Take(cache, RollingScene.Plan("ddpm", "leading", 4), 1), Is.SameAs(first));
        Assert.That(_filled, Is.EqualTo(1));
        Assert.That(Take(cache, RollingScene.Plan("ddim", "linspace", 4), 1), Is.Not.SameAs(first));
        Assert.That(Take(cache, s_four, 2), Is.Not.SameAs(first));
        Assert.That(_filled, Is.EqualTo(3));
    }

    [Test]
    public void Rows_are_those_of_a_table_of_their_own()
    {
        using var cache = Create(11);
        Take(cache, s_four, 3);
        var run = Take(cache, s_six, 2)!;
        Assert.That((run.FirstRow, run.EndRow), Is.EqualTo((4, 10)));
        using var own = new ModulationTable(_tiny.Backend, _tiny.Model.Config, 6);
        _tiny.Model.Conditioner.Fill([.. s_six.Steps.ToArray().Select(step => step.Timestep)], [2, 2, 2, 2, 2, 2], own);
        Assert.That(_tiny.Read(cache.Table.Blocks[1].Rows(4, 6)), Is.EqualTo(_tiny.Read(own.Blocks[1])));
        Assert.That(_tiny.Read(cache.Table.Final.Rows(4, 6)), Is.EqualTo(_tiny.Read(own.Final)));
    }

    [Test]
    public void Rows_in_use_stay_and_the_longest_unused_go_first()
    {
        using var cache = Create(12);
        ModulationRun one = Take(cache, s_four, 1)!, two = Take(cache, s_four, 2)!, three = Take(cache, s_four, 3)!;
        Assert.That(Take(cache, s_four, 4), Is.Null, "all rows are in use");
        cache.Return(two);
        cache.Return(one);
        var four = Take(cache, s_four, 4)!;
        Assert.That(four.FirstRow, Is.EqualTo(two.FirstRow), "class 2 was unused for longer");
        Assert.That(Take(cache, s_four, 1), Is.SameAs(one), "class 1 is still there");
        Assert.That(Take(cache, s_four, 3), Is.SameAs(three));
        Assert.That(_filled, Is.EqualTo(4));
    }

    [Test]
    public void Nothing_is_let_go_of_in_vain()
    {
        using var cache = Create(12);
        ModulationRun one = Take(cache, s_four, 1)!, two = Take(cache, s_four, 2)!;
        Take(cache, s_four, 3);
        cache.Return(two);
        Assert.That(Take(cache, s_six, 1), Is.Null, "only four rows together are not in use");
        Assert.That(Take(cache, s_four, 2), Is.SameAs(two));
        cache.Return(two);
        cache.Return(one);
        Assert.That(Take(cache, s_six, 1)!.FirstRow, Is.Zero, "now eight are");
    }

    [Test]
    public void Unused_rows_that_lie_in_the_way_of_each_other_do_not_keep_out_what_fits()
    {
        using var cache = Create(12);
        ModulationRun one = Take(cache, s_four, 1)!, two = Take(cache, s_six, 2)!;
        cache.Return(one);
        cache.Return(two);
        // Class 2 is there, in rows 4 to 9, and leaves no six rows on either side.
        var runs = new ModulationRun?[2];
        Assert.That(cache.TryTake(s_six, [2, 3], runs));
        Assert.That(runs.Select(run => run!.FirstRow), Is.EquivalentTo(new[] { 0, 6 }));
    }

    private ModulationCache Create(int rowCount)
    {
        var cache = new ModulationCache(_tiny.Model, rowCount * ModulationTable.RowBytes(_tiny.Model.Config));
        Assert.That(cache.Table.RowCount, Is.EqualTo(rowCount));
        return cache;
    }

    private static ModulationRun? Take(ModulationCache cache, SamplingPlan plan, int label)
    {
        var run = new ModulationRun?[1];
        return cache.TryTake(plan, [label], run) ? run[0] : null;
    }
}

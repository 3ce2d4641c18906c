using DiTRuntime.Exporter;
using DiTRuntime.Exporter.Planning;
using DiTRuntime.Models;

namespace DiTRuntime.Tests.Exporter;

[TestFixture]
internal sealed class PlannedFileTests
{
    private const int LatentSide = 64;

    [Test]
    public void Limit_on_memory_makes_tiles_smaller()
    {
        var free = Plan(null).Memory;
        var fitted = Plan(free.MemoryBytes / 2).Memory;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(free.TileSide, Is.EqualTo(LatentSide));
            Assert.That(fitted.TileSide, Is.LessThan(LatentSide));
            Assert.That(fitted.MemoryBytes, Is.LessThanOrEqualTo(free.MemoryBytes / 2));
        }
    }

    [Test]
    public void Limit_that_nothing_meets_is_refused_with_what_is_needed() =>
        Assert.That(() => Plan(1000), Throws.TypeOf<ExportMemoryException>().With.Message.Contains("MB are needed").And.Message.Contains("tiles of 16").And.Property("ExitCode").EqualTo(ExitCode.OutOfMemory));

    [Test]
    public void More_threads_and_images_take_more()
    {
        var one = Plan(null).Memory;
        Assert.That(Plan(null, threads: 8).Memory.MemoryBytes, Is.GreaterThan(one.MemoryBytes));
        Assert.That(Plan(null, batch: 8).Memory.PeakBytes, Is.GreaterThan(one.PeakBytes));
    }

    [Test]
    public void Table_holds_a_row_for_every_class_of_a_batch_and_none()
    {
        var steps = 10;
        Assert.That(Plan(null, batch: 3).Memory.TableRows, Is.EqualTo(steps * 4));
    }

    private static PlannedFile Plan(long? limit, int batch = 1, int threads = 4)
    {
        var source = new ExportSource(
            "tiny", () => DiTWeightsLoader.Load(TestFiles.Golden("tiny/official.safetensors"), new DiTLoadOptions { HeadCount = 2, InputSize = LatentSide }), TestFiles.Golden("vae"));
        var settings = new ExportSettings { Target = ExportTarget.C, OutputFolder = "unused", Steps = 10, Batch = batch, Threads = threads, MaxMemoryBytes = limit };
        using var weights = source.OpenWeights();
        using var planned = PlannedFile.Of(source, settings, weights, ExportRun.Of(settings, weights.Config));
        return planned;
    }
}

namespace DiTRuntime.Tests.Exporter.EndToEnd;

/// <summary>Exports cross-compiled for 64-bit ARM and run under QEMU as several processors: without dot products, with them, and with all that QEMU has.</summary>
internal sealed class CrossTests
{
    private static readonly (string Processor, string[] Paths)[] s_processors =
    [
        ("cortex-a72", ["auto", "neon"]),
        ("neoverse-n1", ["neon-dotprod"]),
        ("max", ["auto", "portable", "neon-i8mm"]),
    ];

    private static IEnumerable<TestCaseData> Runs() =>
        from model in ExportCase.Small
        from processor in s_processors
        from path in processor.Paths
        select new TestCaseData(model, processor.Processor, path);

    [TestCaseSource(nameof(Runs))]
    public void Arm_draws_what_the_backend_draws(ExportCase model, string processor, string simd) => CBuild.Arm.DrawsTheSame(model, simd, processor);

    [Test]
    public void Arm_draws_digits([ValueSource(typeof(ExportCase), nameof(ExportCase.Digits))] ExportCase model) => CBuild.Arm.DrawsTheSame(model, "auto", "max");

    [Test]
    public void Arm_draws_through_the_large_decoder() => CBuild.Arm.DrawsTheSame(ExportCase.LargeDecoder, "auto", "max");

    [TestCase("cortex-a72")]
    [TestCase("max")]
    public void Arm_verifies(string processor)
    {
        var (code, text) = CBuild.Arm.Verify(ExportedModels.Of(ExportCase.Small[0]).Folder, processor);
        Assert.That(code, Is.Zero, text);
    }

    [TestCase("cortex-a72", "neon-dotprod")]
    [TestCase("cortex-a72", "neon-i8mm")]
    [TestCase("max", "avx2")]
    public void Instructions_that_are_not_there_are_refused(string processor, string simd)
    {
        var (code, text) = CBuild.Arm.Run(processor, "info", ExportedModels.Of(ExportCase.Small[0]).Folder, "--simd", simd);
        Assert.That(code, Is.EqualTo(5), text);
    }
}

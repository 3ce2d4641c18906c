using DiTRuntime.Cuda.Compilation;

namespace DiTRuntime.Tests.Cuda.Compilation;

public sealed class TargetArchitectureTests
{
    [TestCase("sm_87", 87, false)]
    [TestCase("90a", 90, true)]
    [TestCase("sm_120", 120, false)]
    public void An_architecture_is_read_and_written(string text, int number, bool specific)
    {
        var target = TargetArchitecture.Parse(text);
        Assert.That(target, Is.EqualTo(new TargetArchitecture(number, specific)));
        Assert.That(target.Name, Is.EqualTo("sm_" + text.Replace("sm_", "", StringComparison.Ordinal)));
    }

    [TestCase("")]
    [TestCase("sm_")]
    [TestCase("compute_80")]
    [TestCase("8.7")]
    [TestCase("-87")]
    [TestCase("a")]
    public void What_is_no_architecture_is_refused(string text) => Assert.Throws<UsageException>(() => TargetArchitecture.Parse(text));
}

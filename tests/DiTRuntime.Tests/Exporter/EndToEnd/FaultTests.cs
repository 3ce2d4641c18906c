namespace DiTRuntime.Tests.Exporter.EndToEnd;

/// <summary>The repository's own CMake build under sanitizers: the runtime's parts, the C API of an export under faults, the player on the emulated device.</summary>
internal sealed class FaultTests
{
    private static readonly string[] s_tests = ["core_test", "kernels_test", "lowbit_test", "decoder_test", "verify_test", "api_test", "header_test", "dit_verify", "dit_player_verify"];

    [Test]
    public void Every_test_of_the_repositorys_CMake_project_passes_under_sanitizers()
    {
        CTools.Need("ctest");
        var text = CTools.Succeed("ctest", "--test-dir", CBuild.Repository.Folder, "--output-on-failure");
        Assert.That(text, Does.Contain("100% tests passed"));
        foreach (var name in s_tests) Assert.That(text, Does.Match($@"\b{name} \.+ +Passed"));
    }
}

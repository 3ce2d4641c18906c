namespace DiTRuntime.Tests.Exporter.EndToEnd;

/// <summary>The repository's own CMake build under sanitizers: the runtime's parts, and the C API of an export under faults.</summary>
internal sealed class FaultTests
{
    [Test]
    public void Runtime_and_its_calls_hold_under_sanitizers()
    {
        CTools.Need("cmake", "ctest", "gcc");
        var folder = ExportedModels.Scratch("root-sanitize/");
        CTools.Succeed(
            "cmake", "-S", TestFiles.Root, "-B", folder, "-DCMAKE_C_COMPILER=gcc", "-DCMAKE_C_FLAGS_RELEASE=-O1", "-DDIT_BUILD_EMULATOR=OFF", "-DDIT_SANITIZE=address,undefined",
            $"-DDIT_EXPORT_DIR={ExportedModels.Of(ExportCase.Small[0]).Folder}");
        CTools.Succeed("cmake", "--build", folder, "--parallel", "2");
        var text = CTools.Succeed("ctest", "--test-dir", folder, "--output-on-failure");
        Assert.That(text, Does.Contain("api_test").And.Contain("kernels_test").And.Contain("dit_verify").And.Contain("100% tests passed"));
    }
}

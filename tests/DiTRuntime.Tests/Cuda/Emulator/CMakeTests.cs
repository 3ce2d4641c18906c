using System.ComponentModel;
using DiTRuntime.Tests.Checkpoints;

namespace DiTRuntime.Tests.Cuda.Emulator;

/// <summary>The emulator alone of the CMake project, with its self tests.</summary>
[TestFixture]
internal sealed class CMakeTests
{
    [Test]
    public void Builds_and_passes_its_self_tests()
    {
        using var folder = new TestFolder();
        Succeeds("cmake", "-S", TestFiles.Root, "-B", folder.Root, "-DDIT_BUILD_RUNTIME=OFF");
        Succeeds("cmake", "--build", folder.Root, "--parallel", "2");
        Succeeds("ctest", "--test-dir", folder.Root, "--output-on-failure");
    }

    private static void Succeeds(string program, params string[] arguments)
    {
        try
        {
            var (code, text) = HostC.Run(program, arguments);
            Assert.That(code, Is.Zero, text);
        }
        catch (Win32Exception)
        {
            Assert.Ignore($"{program} is not installed here");
        }
    }
}

using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Interop;
using DiTRuntime.Tests.Checkpoints;

namespace DiTRuntime.Tests.Cuda.Driver;

/// <summary>How libraries are found, and what is said where they are not.</summary>
[TestFixture]
[NonParallelizable]
internal sealed class LibrarySearchTests
{
    private static readonly string[] s_variables = [LibrarySearch.FolderVariable, "DIT_LIBCUDA", "DIT_LIBNVRTC", "CUDA_PATH"];
    private readonly Dictionary<string, string?> _before = [];

    [SetUp]
    public void Clear_variables()
    {
        foreach (var name in s_variables)
        {
            _before[name] = Environment.GetEnvironmentVariable(name);
            Environment.SetEnvironmentVariable(name, null);
        }
    }

    [TearDown]
    public void Restore_variables()
    {
        foreach (var name in s_variables) Environment.SetEnvironmentVariable(name, _before[name]);
    }

    [Test]
    public void Missing_driver_ends_with_exit_code_5_and_names_the_file()
    {
        var error = Assert.Throws<GpuUnavailableException>(() => CudaDevice.Open(0, "/nowhere/libcuda.so.1"))!;
        Assert.That(error.ExitCode, Is.EqualTo(ExitCode.Unsupported));
        Assert.That(error.Message, Does.Contain("/nowhere/libcuda.so.1 does not exist").And.Contain("install the NVIDIA driver"));
        var probe = CudaDevice.Probe("/nowhere/libcuda.so.1");
        Assert.That((probe.Devices.Count, probe.Library, probe.Problem), Is.EqualTo((0, (string?)null, error.Message)));
    }

    [Test]
    public void Message_names_all_that_was_searched()
    {
        var search = LibrarySearch.Nvrtc;
        var message = search.Missing(search.Candidates(null));
        var names = OperatingSystem.IsWindows() ? new[] { "nvrtc64_130_0.dll", "nvrtc64_112_0.dll" } : ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"];
        foreach (var name in names) Assert.That(message, Does.Contain(name));
        Assert.That(message, Does.Contain("set DIT_CUDA_PATH"));
    }

    [Test]
    public void Newer_names_come_first_and_the_given_folder_before_all()
    {
        using var folder = new TestFolder();
        var names = OperatingSystem.IsWindows() ? new[] { "nvrtc64_120_0.dll", "nvrtc64_112_0.dll" } : ["libnvrtc.so.12", "libnvrtc.so.11.2"];
        var old = folder.Write(Path.Combine("lib", names[1]), "not a library");
        var recent = folder.Write(Path.Combine("lib", names[0]), "not a library");
        Environment.SetEnvironmentVariable(LibrarySearch.FolderVariable, folder.Root);
        var candidates = LibrarySearch.Nvrtc.Candidates(null);
        Assert.That(candidates.Take(3), Is.EqualTo(new[] { recent, old, OperatingSystem.IsWindows() ? "nvrtc64_130_0.dll" : "libnvrtc.so.13" }));
        Assert.That(LibrarySearch.Nvrtc.Missing(candidates), Does.Contain($"not loadable: {recent}").And.Contain($"DIT_CUDA_PATH={folder.Root}"));
    }

    [Test]
    public void Variable_of_the_library_ends_the_search()
    {
        Environment.SetEnvironmentVariable("DIT_LIBNVRTC", "/nowhere/libnvrtc.so");
        Assert.That(() => NvrtcLibrary.Load(), Throws.InstanceOf<GpuUnavailableException>().With.Message.Contains("libnvrtc.so does not exist").And.Message.Contains("DIT_CUDA_PATH"));
    }

    [Test]
    public void Library_without_the_functions_is_named()
    {
        var file = StubDriver.Build("libnvrtc_stub.c", "libcuda.so.1", "-DSTUB_MAJOR=12", "-DSTUB_MINOR=0");
        Assert.That(() => CudaDevice.Open(0, file), Throws.InstanceOf<GpuUnavailableException>().With.Message.Contains(file).And.Message.Contains("no function cuInit"));
    }

    [Test]
    public void Driver_without_a_GPU_says_so()
    {
        // A copy of its own: a driver that has started once is kept.
        var file = StubDriver.Build("libcuda_stub.c", "libcuda.so.1");
        var error = Assert.Throws<GpuUnavailableException>(() => CudaDevice.Open(0, file))!;
        Assert.That(error.Message, Does.Contain("CUDA_ERROR_NO_DEVICE (100), no CUDA-capable device is detected"));
    }

    [Test]
    public void Nvrtc_too_old_is_refused_with_both_versions()
    {
        var file = StubDriver.Build("libnvrtc_stub.c", "libnvrtc.so.11.2", "-DSTUB_MAJOR=11", "-DSTUB_MINOR=7");
        var error = Assert.Throws<GpuUnavailableException>(() => NvrtcLibrary.Load(file))!;
        Assert.That(error.ExitCode, Is.EqualTo(ExitCode.Unsupported));
        Assert.That(error.Message, Does.Contain("NVRTC 11.7").And.Contain(file).And.Contain("11.8 or newer"));
    }

    [Test]
    public void Nvrtc_result_and_failure_are_told()
    {
        var file = StubDriver.Build("libnvrtc_stub.c", "libnvrtc.so.11.2", "-DSTUB_MAJOR=11", "-DSTUB_MINOR=8");
        var library = NvrtcLibrary.Load(file);
        Assert.That((library.Version, library.File), Is.EqualTo(((11, 8), file)));
        Assert.That(library.SupportedArchitectures, Is.EqualTo(new[] { 80, 90 }));
        var result = library.Compile("a.cu", "a", new Dictionary<string, string> { ["a.h"] = "text" }, ["-arch=sm_80"]);
        Assert.That((result.Ok, result.Log), Is.EqualTo((true, "note")));
        Assert.That(result.Cubin, Is.EqualTo(new byte[] { 1, 2, 3 }));
        Assert.That(() => library.Compile("b.cu", "b", new Dictionary<string, string>(), []),
            Throws.InstanceOf<GpuException>().With.Message.EqualTo("nvrtcCompileProgram: NVRTC_ERROR_BUILTIN_OPERATION_FAILURE (7): note"));
        library.Dispose();
        Assert.That(() => library.Compile("a.cu", "a", new Dictionary<string, string>(), []), Throws.InstanceOf<ObjectDisposedException>());
    }
}

using DiTRuntime.Cuda.Compilation;

namespace DiTRuntime.Tests.Cuda.Compilation;

public sealed class KernelKeyTests
{
    private static readonly Dictionary<string, string> s_sources = new()
    {
        ["abi/a.h"] = "struct a {};\n#include \"common/c.cuh\"",
        ["common/c.cuh"] = "#ifdef DIT_EMULATED\n  #  include \"common/d.cuh\"\n#endif\n#include \"abi/a.h\"",
        ["common/d.cuh"] = "// d",
        ["common/unused.cuh"] = "// nobody includes this",
        ["emulator/runtime.cpp"] = "// compiled beside every emulated kernel",
        ["gemm/gemm.cu"] = "#include \"common/c.cuh\"",
        ["norm/norm.cu"] = "// another kernel",
    };

    private readonly KernelKey _key = Of(new KernelSpec("gemm/gemm.cu", "gemm_kernel", ("TILE", 128)), "nvrtc 12.4 sm_80", s_sources);

    [Test]
    public void It_is_the_same_for_the_same_inputs() =>
        Assert.That(Of(new KernelSpec("gemm/gemm.cu", "gemm_kernel", ("TILE", 128)), "nvrtc 12.4 sm_80", new(s_sources)), Is.EqualTo(_key));

    [Test]
    public void Constants_entry_target_and_version_make_another_key()
    {
        var keys = new[]
        {
            _key,
            Of(new KernelSpec("gemm/gemm.cu", "gemm_kernel", ("TILE", 64)), "nvrtc 12.4 sm_80", s_sources),
            Of(new KernelSpec("gemm/gemm.cu", "gemm_kernel", ("TILE", 128), ("GROUP", 32)), "nvrtc 12.4 sm_80", s_sources),
            Of(new KernelSpec("gemm/gemm.cu", "other_kernel", ("TILE", 128)), "nvrtc 12.4 sm_80", s_sources),
            Of(new KernelSpec("gemm/gemm.cu", "gemm_kernel", ("TILE", 128)), "nvrtc 12.4 sm_86", s_sources),
            Of(new KernelSpec("gemm/gemm.cu", "gemm_kernel", ("TILE", 128)), "nvrtc 12.6 sm_80", s_sources),
        };
        Assert.That(keys.Select(key => key.Hash), Is.Unique);
    }

    [TestCase("gemm/gemm.cu")]
    [TestCase("common/c.cuh")]
    [TestCase("common/d.cuh")]
    [TestCase("abi/a.h")]
    [TestCase("emulator/runtime.cpp")]
    public void A_source_the_kernel_can_include_makes_another_key(string file) => Assert.That(Changed(file).Hash, Is.Not.EqualTo(_key.Hash));

    [TestCase("norm/norm.cu")]
    [TestCase("common/unused.cuh")]
    public void A_source_it_cannot_include_does_not(string file) => Assert.That(Changed(file), Is.EqualTo(_key));

    [Test]
    public void Text_that_moves_from_one_file_to_another_makes_another_key()
    {
        var moved = new Dictionary<string, string>(s_sources) { ["common/d.cuh"] = "", ["gemm/gemm.cu"] = s_sources["gemm/gemm.cu"] + s_sources["common/d.cuh"] };
        Assert.That(Of(new KernelSpec("gemm/gemm.cu", "gemm_kernel", ("TILE", 128)), "nvrtc 12.4 sm_80", moved).Hash, Is.Not.EqualTo(_key.Hash));
    }

    private static KernelKey Changed(string file) =>
        Of(new KernelSpec("gemm/gemm.cu", "gemm_kernel", ("TILE", 128)), "nvrtc 12.4 sm_80", new(s_sources) { [file] = s_sources[file] + "\n// changed" });

    private static KernelKey Of(KernelSpec spec, string compiler, Dictionary<string, string> sources) => KernelKey.Of(spec.Text, compiler, sources);
}

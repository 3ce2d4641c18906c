using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Exporter;
using DiTRuntime.Models;
using DiTRuntime.Tests.Checkpoints;
using DiTRuntime.Tests.Cuda;
using DiTRuntime.Tests.Cuda.Driver;

namespace DiTRuntime.Tests.Exporter.Cuda;

/// <summary>What goes wrong around a driver, over a stub of it, with sanitizers: a status and a reason each time, nothing left behind.</summary>
[TestFixture]
internal sealed class PlayerFaultTests
{
    /// <summary>What the program ends with where a sanitizer speaks.</summary>
    private const int SanitizerCode = 99;

    private static readonly PlayedRun s_run = new(3, "ddpm", 2, 1, [1, 2, 3]);

    private TestFolder _folder = null!;
    private string _program = null!;
    private string _weights = null!;

    [OneTimeSetUp]
    public void Build()
    {
        _folder = new TestFolder();
        _program = Player.BuildNative(_folder["play"], "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g");
        File.Copy(StubDriver.Build("libcuda_stub.c", "libcuda.so.1"), _folder["driver/libcuda.so.1"]);
        HostC.Compile(_folder.Write("old.c", "int cuInit(unsigned flags) { return (int)flags; }\n"), _folder["old/libcuda.so.1"], "-shared");
        Directory.CreateDirectory(_folder["none"]);
        // The stub keeps what is given back, to recognise it.
        _folder.Write("stub.supp", "leak:libcuda.so.1\n");
        var source = new ExportSource("tiny", () => DiTWeightsLoader.Load(TestFiles.Golden("tiny/official.safetensors"), new DiTLoadOptions { HeadCount = 2 }), TestFiles.Golden("vae"));
        _weights = Player.Export(_folder, source, settings => settings with { Batch = 2 }, "sm_90", (_, _) => new StubCompiler());
    }

    [OneTimeTearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public void A_run_over_the_stub_leaves_nothing()
    {
        var (code, text) = Run("driver");
        Assert.That(code, Is.Zero, text);
        Assert.That(text, Does.Contain("cuda: Stub GPU, sm_90"));
    }

    [Test]
    public void Every_failure_of_the_driver_is_told_and_leaves_nothing()
    {
        string[] calls =
        [
            "cuInit", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetAttribute", "cuDevicePrimaryCtxRetain", "cuCtxPushCurrent_v2", "cuMemAlloc_v2", "cuMemAllocHost_v2", "cuMemcpyHtoDAsync_v2",
            "cuMemcpyDtoHAsync_v2", "cuMemsetD8Async", "cuStreamCreate", "cuStreamSynchronize", "cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuEventCreate", "cuEventRecord",
            "cuEventSynchronize", "cuModuleLoadData", "cuModuleGetFunction", "cuFuncGetAttribute", "cuLaunchKernel", "cuGraphInstantiateWithFlags", "cuGraphLaunch",
        ];
        using (Assert.EnterMultipleScope())
        {
            foreach (var call in calls)
            {
                // The first, a later one, and so on until the call is not made so often. A context that cannot be entered to close it leaves what is in it to the driver.
                var most = call == "cuCtxPushCurrent_v2" ? 8 : 200;
                for (var (skip, code) = (0, 1); code != 0 && skip < most; skip = 2 * skip + 1)
                {
                    (code, var text) = Run("driver", ("PLAY_FAIL", call), ("PLAY_FAIL_SKIP", $"{skip}"));
                    if (code == 0 && skip > 0) continue;
                    Assert.That(code, Is.EqualTo(1), $"{call} {skip}: {text}");
                    Assert.That(text, Does.Contain(call).And.Contain("CUDA_ERROR_ILLEGAL_ADDRESS (700), an illegal memory access was encountered"), $"{call} {skip}");
                }
            }
        }
    }

    [Test]
    public void Memory_that_runs_out_is_out_of_memory_at_every_allocation()
    {
        for (var (skip, code) = (0, 4); code != 0; skip++)
        {
            (code, var text) = Run("driver", ("PLAY_FAIL", "cuMemAlloc_v2"), ("PLAY_FAIL_SKIP", $"{skip}"), ("PLAY_FAIL_STATUS", "2"));
            if (code == 0) Assert.That(skip, Is.GreaterThan(100));
            else Assert.That((code, text.Contains("CUDA_ERROR_OUT_OF_MEMORY (2), out of memory", StringComparison.Ordinal)), Is.EqualTo((4, true)), $"{skip}: {text}");
        }
    }

    [TestCase("none", "no CUDA driver here")]
    [TestCase("old", "the CUDA driver is too old: it has no ")]
    public void A_machine_without_a_driver_that_serves_is_unsupported(string driver, string reason)
    {
        if (File.Exists("/usr/lib/x86_64-linux-gnu/libcuda.so.1") && driver == "none") Assert.Ignore("there is a driver here");
        var (code, text) = Run(driver);
        Assert.That((code, text), Is.EqualTo((5, text)));
        Assert.That(text, Does.Contain(reason));
    }

    [Test]
    public void Another_architecture_is_named()
    {
        var (code, text) = Run("driver", ("PLAY_ARCHITECTURE", "87"));
        Assert.That((code, text), Is.EqualTo((5, text)));
        Assert.That(text, Does.Contain("Stub GPU is sm_87").And.Contain("sm_90"));
    }

    [Test]
    public void Damage_of_the_plan_is_noticed_or_harmless()
    {
        // The header, the plans and their tables; weights come later in the file.
        var bytes = File.ReadAllBytes(_weights);
        var plan = BitConverter.ToInt64(bytes, (int)System.Runtime.InteropServices.Marshal.OffsetOf<DiTRuntime.Exporter.Files.FileHeader>("Plan"));
        var random = new Random(7);
        for (var round = 0; round < 60; round++)
        {
            var damaged = (byte[])bytes.Clone();
            for (var i = 0; i < 3; i++) damaged[plan + random.Next(12_000)] = (byte)random.Next(256);
            var file = _folder.Write("damaged.dit", damaged);
            var (code, text) = Play(file, "driver");
            Assert.That(code, Is.Not.EqualTo(SanitizerCode).And.LessThan(128), text);
            Assert.That(text, Does.Not.Contain("left"), text);
        }
    }

    private (int Code, string Text) Run(string driver, params (string Name, string Value)[] environment) => Play(_weights, driver, environment);

    private (int Code, string Text) Play(string weights, string driver, params (string Name, string Value)[] environment) => Player.Run(
        _program, weights, _folder["out"], s_run,
        [("LD_LIBRARY_PATH", _folder[driver]), ("LSAN_OPTIONS", $"suppressions={_folder["stub.supp"]}:print_suppressions=0"), ("ASAN_OPTIONS", $"exitcode={SanitizerCode}"), ("UBSAN_OPTIONS", $"exitcode={SanitizerCode}"), .. environment]);

    /// <summary>Makes what the stub takes for a module: a kernel's name and the bytes of its arguments that it looks at.</summary>
    private sealed class StubCompiler : IKernelCompiler
    {
        public string Identity => "stub";

        public KernelImage Compile(KernelSpec spec) => new(spec.Text, System.Text.Encoding.ASCII.GetBytes($"{spec.Entry} 8\0"), "");
    }
}

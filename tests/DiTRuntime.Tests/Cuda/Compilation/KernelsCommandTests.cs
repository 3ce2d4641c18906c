using System.CommandLine;
using System.Text.Json.Nodes;
using DiTRuntime.Cli;
using DiTRuntime.Cli.Commands;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Tests.Checkpoints;

namespace DiTRuntime.Tests.Cuda.Compilation;

public sealed class KernelsCommandTests
{
    private static readonly KernelSpec[] s_specs = [.. KernelCatalog.For(new TargetArchitecture(87)).TakeLast(2).Select(kernel => kernel.Spec)];
    private TestFolder _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = new TestFolder();

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public void What_build_compiled_list_shows_and_a_second_build_finds()
    {
        SkipWithoutNvrtc();
        var first = Targets(Run("build", "--arch", "sm_87,sm_90a", "--cache", _folder["kernels"]));
        Assert.That(first.Select(target => (string?)target!["arch"]), Is.EqualTo(new[] { "sm_87", "sm_90a" }));
        Assert.That(first.Select(target => (int)target!["compiled"]!), Is.All.EqualTo(s_specs.Length));
        Assert.That(Targets(Run("build", "--arch", "90a,87", "--cache", _folder["kernels"])).Select(target => (int)target!["compiled"]!), Is.All.Zero);

        var kernels = Run("list", "--cache", _folder["kernels"])["kernels"]!.AsArray();
        Assert.That(kernels, Has.Count.EqualTo(2 * s_specs.Length));
        var one = kernels.First(kernel => (string?)kernel!["arch"] == "sm_87")!;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(s_specs.Select(spec => spec.Text), Does.Contain((string)one["kernel"]!));
            Assert.That((int)one["registers"]!, Is.InRange(8, 255));
            Assert.That((int)one["spill_store_bytes"]!, Is.Zero);
            Assert.That((int)one["code_bytes"]!, Is.GreaterThan(1000));
            Assert.That((string)one["compiler"]!, Does.StartWith("nvrtc ").And.Contain(" sm_87 "));
        }

        Assert.That(Run("list", "--cache", _folder["kernels"], "--arch", "sm_87")["kernels"]!.AsArray(), Has.Count.EqualTo(s_specs.Length));
    }

    [Test]
    public void A_list_leaves_out_kernels_of_other_sources()
    {
        var cache = new KernelCache(_folder["kernels"]);
        var image = new KernelImage("k", [1], "ptxas info    : Used 8 registers");
        cache.Store(new KernelKey("gone/gone.cu:gone_kernel", "nvrtc 12.4 sm_80", new string('0', 64)), image);
        cache.Store(KernelKey.Of(s_specs[0].Text, "g++ 12", KernelSources.All), image);
        cache.Store(KernelKey.Of(s_specs[0].Text, "nvrtc 12.4 sm_80", KernelSources.All), image);
        var (code, output, _) = RunText("list", "--cache", _folder["kernels"]);
        Assert.That(code, Is.Zero);
        Assert.That(output.Split('\n', StringSplitOptions.RemoveEmptyEntries), Has.Length.EqualTo(2));
        Assert.That(output, Does.Match($@"sm_80\s+8\s+0\s+0\s+0\s+1\s+{s_specs[0].File}"));
    }

    [Test]
    public void An_empty_cache_is_told()
    {
        var (code, output, error) = RunText("list", "--cache", _folder["none"]);
        Assert.That((code, output), Is.EqualTo((0, "")));
        Assert.That(error, Does.Contain(_folder["none"]).And.Contain("dit kernels build"));
    }

    [Test]
    public void A_word_that_is_no_architecture_is_refused() =>
        Assert.That(Assert.Throws<UsageException>(() => RunText("build", "--arch", "sm_87,jetson"))!.Message, Does.Contain("'jetson'"));

    [Test]
    public void Kernels_that_do_not_compile_are_counted_and_the_first_is_shown()
    {
        SkipWithoutNvrtc();
        var broken = new KernelSpec("sampler/final_layer.cu", "final_layer_kernel");
        var error = Assert.Throws<GpuException>(() => RunText([.. s_specs, broken], "build", "--arch", "sm_80", "--cache", _folder["kernels"]))!;
        Assert.That(error.Message, Does.StartWith($"1 of {s_specs.Length + 1} kernels do not compile").And.Contain("HIDDEN"));
        Assert.That(new KernelCache(_folder["kernels"]).List(), Has.Count.EqualTo(s_specs.Length));
    }

    private static void SkipWithoutNvrtc() => Assert.That(TestCompilers.Nvrtc.Version.Major, Is.GreaterThan(10));

    private static JsonArray Targets(JsonObject built) => new(built["targets"]!.AsArray().OrderBy(target => (string?)target!["arch"], StringComparer.Ordinal).Select(target => target!.DeepClone()).ToArray());

    private static JsonObject Run(params string[] arguments)
    {
        var (code, output, error) = RunText([.. arguments, "--json"]);
        Assert.That(code, Is.Zero, error);
        return JsonNode.Parse(output)!.AsObject();
    }

    private static (int Code, string Out, string Error) RunText(params string[] arguments) => RunText(s_specs, arguments);

    private static (int Code, string Out, string Error) RunText(KernelSpec[] specs, params string[] arguments)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        var console = new CliConsole(output, error, ErrorIsTerminal: false);
        var common = new CommonOptions();
        var root = new RootCommand { KernelsCommand.Create(parse => common.Open(parse, console, askForTime: null, CancellationToken.None), (_, _, _) => specs) };
        common.AddTo(root);
        var code = root.Parse(["kernels", .. arguments]).Invoke(new InvocationConfiguration { Output = output, Error = error, EnableDefaultExceptionHandler = false });
        return (code, output.ToString(), error.ToString());
    }
}

using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Tests.Checkpoints;

namespace DiTRuntime.Tests.Cuda.Compilation;

public sealed class KernelCacheTests
{
    private static readonly Dictionary<string, string> s_sources = new() { ["gemm/gemm.cu"] = "// gemm" };
    private readonly CountingCompiler _inner = new();
    private TestFolder _folder = null!;

    [SetUp]
    public void MakeFolder()
    {
        _folder = new TestFolder();
        _inner.Count = 0;
    }

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public void A_kernel_is_compiled_once_and_comes_back_whole()
    {
        var first = Compiler().Compile(Spec(1));
        var second = Compiler().Compile(Spec(1));
        AssertSame(second, first);
        Assert.That(_inner.Count, Is.EqualTo(1));
    }

    [Test]
    public void Kernels_do_not_take_each_others_place()
    {
        var compiler = Compiler();
        for (var pass = 0; pass < 2; pass++)
            for (var tile = 0; tile < 50; tile++) AssertSame(compiler.Compile(Spec(tile)), CountingCompiler.Make(Spec(tile)));
        Assert.That(_inner.Count, Is.EqualTo(50));
    }

    [Test]
    public void A_list_tells_title_log_and_compiler_without_compiling()
    {
        for (var tile = 3; tile > 0; tile--) Compiler().Compile(Spec(tile));
        var list = new KernelCache(_folder.Root).List();
        Assert.That(list.Select(cached => cached.Key.Kernel), Is.EqualTo(new[] { Spec(1).Text, Spec(2).Text, Spec(3).Text }));
        Assert.That(list.Select(cached => cached.Key.Compiler), Is.All.EqualTo(_inner.Identity));
        AssertSame(list[1].Image, CountingCompiler.Make(Spec(2)));
    }

    [Test]
    public void An_entry_with_any_byte_changed_is_compiled_again_and_replaced()
    {
        var path = Entry();
        var whole = File.ReadAllBytes(path);
        for (var at = 0; at < whole.Length; at += 3)
        {
            var damaged = whole.ToArray();
            damaged[at] ^= 0x10;
            AssertReplaced(path, damaged, whole);
        }
    }

    [Test]
    public void An_entry_cut_short_is_compiled_again_and_replaced()
    {
        var path = Entry();
        var whole = File.ReadAllBytes(path);
        for (var length = 0; length < whole.Length; length += 5) AssertReplaced(path, whole[..length], whole);
    }

    [Test]
    public void An_entry_with_something_behind_its_end_is_compiled_again_and_replaced()
    {
        var path = Entry();
        var whole = File.ReadAllBytes(path);
        AssertReplaced(path, [.. whole, 0], whole);
    }

    [Test]
    public void An_entry_under_another_kernels_name_is_not_taken_for_it()
    {
        var path = Entry();
        Compiler().Compile(Spec(2));
        var other = Directory.GetFiles(_folder.Root).Single(file => file != path);
        File.Copy(path, other, overwrite: true);
        AssertSame(Compiler().Compile(Spec(2)), CountingCompiler.Make(Spec(2)));
        Assert.That(_inner.Count, Is.EqualTo(3));
    }

    [Test]
    public void A_folder_that_cannot_be_written_costs_time_and_one_remark()
    {
        // Not even the superuser makes a folder inside a file.
        var remarks = new List<string>();
        var cache = new KernelCache(Path.Combine(_folder.Write("file", "text"), "kernels"), remarks.Add);
        var compiler = new CachingCompiler(_inner, cache, s_sources);
        for (var pass = 0; pass < 2; pass++) AssertSame(compiler.Compile(Spec(1)), CountingCompiler.Make(Spec(1)));
        Assert.That(_inner.Count, Is.EqualTo(2));
        Assert.That(remarks, Has.Count.EqualTo(1));
        Assert.That(remarks[0], Does.StartWith("compiled kernels are not kept").And.Contain("file"));
        Assert.That(cache.List(), Is.Empty);
    }

    [Test]
    public void A_folder_in_the_place_of_an_entry_costs_time_and_one_remark()
    {
        var path = Entry();
        File.Delete(path);
        Directory.CreateDirectory(path);
        var remarks = new List<string>();
        var compiler = new CachingCompiler(_inner, new KernelCache(_folder.Root, remarks.Add), s_sources);
        AssertSame(compiler.Compile(Spec(1)), CountingCompiler.Make(Spec(1)));
        Assert.That(remarks, Has.Count.EqualTo(1));
    }

    [Test]
    public void What_does_not_compile_leaves_nothing()
    {
        var compiler = new CachingCompiler(new FailingCompiler(), new KernelCache(_folder.Root), s_sources);
        for (var pass = 0; pass < 2; pass++) Assert.Throws<KernelCompilationException>(() => compiler.Compile(Spec(1)));
        Assert.That(Directory.GetFileSystemEntries(_folder.Root), Is.Empty);
    }

    [Test]
    public void Many_writers_and_readers_of_one_folder_see_whole_entries_only()
    {
        // Every worker has a cache of its own, as every process has: they meet in the folder alone.
        const int Workers = 8, Rounds = 60, Kernels = 4;
        var wrong = 0;
        Parallel.For(0, Workers, new ParallelOptions { MaxDegreeOfParallelism = Workers }, worker =>
        {
            var cache = new KernelCache(_folder.Root, remark => Assert.Fail(remark));
            for (var round = 0; round < Rounds; round++)
            {
                var spec = Spec((worker + round) % Kernels);
                var key = KernelKey.Of(spec.Text, _inner.Identity, s_sources);
                if ((worker + round / Kernels) % 2 == 0) cache.Store(key, CountingCompiler.Make(spec));
                else if (cache.Find(key) is { } found && !found.Code.AsSpan().SequenceEqual(CountingCompiler.Make(spec).Code)) Interlocked.Increment(ref wrong);
                else if (cache.List().Any(cached => cached.Image.Code.Length != CountingCompiler.CodeLength)) Interlocked.Increment(ref wrong);
            }
        });
        Assert.That(wrong, Is.Zero);
        Assert.That(Directory.GetFiles(_folder.Root), Has.Length.EqualTo(Kernels), "no unfinished file is left");
        Assert.That(new KernelCache(_folder.Root).List(), Has.Count.EqualTo(Kernels));
    }

    [Test]
    public void Every_kernel_is_built_and_failures_do_not_stop_the_others()
    {
        var titles = new List<string>();
        KernelSpec[] specs = [Spec(1), Spec(2), Spec(3)];
        var work = new IKernelCompiler[] { _inner, new FailingCompiler(), _inner }.SelectMany(compiler => specs.Select(spec => (compiler, spec))).ToArray();
        var failures = KernelBuild.Run(work, 3, image => titles.Add(image.Title), CancellationToken.None);
        Assert.That(titles.Order(), Is.EqualTo(specs.Concat(specs).Select(spec => spec.Text).Order()));
        Assert.That(failures.Select(failure => failure.Message), Is.EqualTo(specs.Select(spec => $"kernel {spec} does not compile: no")));
    }

    private static KernelSpec Spec(int tile) => new("gemm/gemm.cu", "gemm_kernel", ("TILE", tile));

    private CachingCompiler Compiler() => new(_inner, new KernelCache(_folder.Root, remark => Assert.Fail(remark)), s_sources);

    /// <summary>Compiles a kernel and returns the path of its entry.</summary>
    private string Entry()
    {
        Compiler().Compile(Spec(1));
        return Directory.GetFiles(_folder.Root).Single();
    }

    private void AssertReplaced(string path, byte[] damaged, byte[] whole)
    {
        File.WriteAllBytes(path, damaged);
        _inner.Count = 0;
        AssertSame(Compiler().Compile(Spec(1)), CountingCompiler.Make(Spec(1)));
        Assert.That(_inner.Count, Is.EqualTo(1));
        Assert.That(File.ReadAllBytes(path), Is.EqualTo(whole));
    }

    private static void AssertSame(KernelImage actual, KernelImage expected)
    {
        Assert.That((actual.Title, actual.Log), Is.EqualTo((expected.Title, expected.Log)));
        Assert.That(actual.Code, Is.EqualTo(expected.Code));
    }

    private sealed class CountingCompiler : IKernelCompiler
    {
        public const int CodeLength = 500;

        public int Count { get; set; }

        public string Identity => "counting 1 sm_80";

        public KernelImage Compile(KernelSpec spec)
        {
            Count++;
            return Make(spec);
        }

        public static KernelImage Make(KernelSpec spec)
        {
            var code = new byte[CodeLength];
            new Random(spec.Text.Sum(c => c)).NextBytes(code);
            return new KernelImage(spec.Text, code, $"log of {spec}\nsecond line ü");
        }
    }

    private sealed class FailingCompiler : IKernelCompiler
    {
        public string Identity => "failing";

        public KernelImage Compile(KernelSpec spec) => throw new KernelCompilationException(spec, "no");
    }
}

using DiTRuntime.Exporter.Folder;
using DiTRuntime.Tests.Checkpoints;
using DiTRuntime.Tests.Cuda;

namespace DiTRuntime.Tests.Exporter;

[TestFixture]
internal sealed class AmalgamatorTests
{
    [Test]
    public void Includes_stand_where_they_are_included_and_headers_once()
    {
        var text = Expand(
            ("a.c", "#include \"h.h\"\n#include \"b.c\"\nint a;\n"),
            ("b.c", "#include \"h.h\"\nint b;\n"),
            ("h.h", "#ifndef X_H\n#define X_H\n#include <stdint.h>\nint h;\n#endif\n"));
        Assert.That(text.IndexOf("int h;", StringComparison.Ordinal), Is.EqualTo(text.LastIndexOf("int h;", StringComparison.Ordinal)).And.LessThan(text.IndexOf("int b;", StringComparison.Ordinal)));
        Assert.That(text.IndexOf("int b;", StringComparison.Ordinal), Is.LessThan(text.IndexOf("int a;", StringComparison.Ordinal)));
        Assert.That(text, Does.Contain("#include <stdint.h>").And.Not.Contain("#include \"b.c\""));
    }

    [Test]
    public void Header_in_a_branch_comes_again_outside_of_it()
    {
        var text = Expand(
            ("a.c", "#ifdef NEVER\n#include \"h.h\"\n#endif\n#include \"h.h\"\nint a;\n"),
            ("h.h", "#ifndef X_H\n#define X_H\nint h;\n#endif\n"));
        Assert.That(text.Split("int h;"), Has.Length.EqualTo(3));
    }

    [Test]
    public void Public_header_stays_a_file()
    {
        var text = Expand(("a.c", "#include \"b.h\"\n#include \"dit.h\"\n"), ("b.h", "#ifndef B_H\n#define B_H\n#include \"dit.h\"\n#endif\n"));
        Assert.That(text.Split("#include \"dit.h\""), Has.Length.EqualTo(2));
    }

    [TestCase(false, "cpu")]
    [TestCase(true, "gpu")]
    public void Only_the_targets_branch_is_left(bool forCuda, string expected)
    {
        const string Source = "#ifdef DIT_CUDA\n#if OTHER\nint gpu;\n#endif\n#else\nint cpu;\n#endif\n#if KEPT\nint kept;\n#endif\n";
        var text = new Amalgamator(_ => Source, forCuda).Expand("a.c");
        Assert.That(text, Does.Contain($"int {expected};").And.Contain("#if KEPT").And.Not.Contain("DIT_CUDA"));
        Assert.That(text, Does.Not.Contain(forCuda ? "cpu" : "gpu"));
    }

    [Test]
    public void Templates_stand_once_and_compile_for_every_use()
    {
        using var folder = new TestFolder();
        var text = Expand(
            ("a.c", "#include <stdio.h>\n#define NAME first\n#include \"t.inc\"\n#undef NAME\n#define NAME second\n#include \"t.inc\"\n#undef NAME\nint main(void) { printf(\"%d%d%d\\n\", first(), second(), LATE); return 0; }\n"),
            ("t.inc", "#include \"late.h\"\nstatic int NAME(void) {\n    int value = 0;\n#include \"inner.inc\"\n#include \"inner.inc\"\n    return value;\n}\n"),
            ("inner.inc", "    value += LATE;\n"),
            ("late.h", "#ifndef LATE_H\n#define LATE_H\n#define LATE 2\n#endif\n"));
        Assert.That(text.Split("value += LATE;"), Has.Length.EqualTo(2));
        HostC.Compile(folder.Write("a.c", text), folder["a"]);
        Assert.That(HostC.Run(folder["a"]), Is.EqualTo((0, "442\n")));
    }

    [Test]
    public void Missing_and_circular_sources_are_named()
    {
        Assert.That(() => Expand(("a.c", "#include \"b.c\"\n")), Throws.InvalidOperationException.With.Message.EqualTo("a.c: b.c is missing"));
        Assert.That(() => Expand(("a.c", "#include \"a.c\"\n")), Throws.InvalidOperationException.With.Message.Contains("includes itself"));
    }

    private static string Expand(params (string Name, string Text)[] sources)
    {
        var texts = sources.ToDictionary(source => source.Name, source => source.Text);
        return new Amalgamator(texts.GetValueOrDefault, forCuda: false).Expand("a.c");
    }
}

namespace DiTRuntime.Tests.Exporter.EndToEnd;

/// <summary>An installed export, as another project finds it.</summary>
internal sealed class PackageTests
{
    private const string Consumer = """
        #include <dit.h>
        #include <stdio.h>

        int main(int count, char** words) {
            dit_options options;
            dit_options_init(&options);
            dit_context* context = NULL;
            if (count != 2 || dit_open(words[1], &options, &context) != DIT_OK) return 1;
            dit_info info;
            dit_info_init(&info);
            dit_get_info(context, &info);
            printf("%u pixels a side\n", info.image_size);
            dit_close(context);
            return 0;
        }

        """;

    private const string FindsPackage = """
        cmake_minimum_required(VERSION 3.16)
        project(Consumer LANGUAGES C CXX)
        find_package(DiT 1.0 CONFIG REQUIRED)
        add_executable(consumer consumer.c)
        add_executable(consumer_cxx consumer.cpp)
        foreach(target consumer consumer_cxx)
          target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Werror)
          target_link_libraries(${target} PRIVATE DiT::dit)
          add_test(NAME ${target} COMMAND ${target} "${DiT_WEIGHTS}")
        endforeach()
        enable_testing()

        """;

    private const string AddsSubdirectory = """
        cmake_minimum_required(VERSION 3.16)
        project(Consumer LANGUAGES C)
        add_subdirectory("${DIT_FOLDER}" dit)
        add_executable(consumer consumer.c)
        target_link_libraries(consumer PRIVATE DiT::dit)

        """;

    private static IEnumerable<CBuild> Builds() => [CBuild.Gcc, CBuild.Clang];

    [TestCaseSource(nameof(Builds))]
    public void Cmake_finds_it_from_C_and_from_Cxx(CBuild build)
    {
        CTools.Need("g++");
        var (prefix, source) = (Install(build), Sources($"consumer-{build}", FindsPackage));
        CTools.Succeed("cmake", "-S", source, "-B", source + "build", $"-DCMAKE_PREFIX_PATH={prefix}");
        CTools.Succeed("cmake", "--build", source + "build");
        Assert.That(CTools.Succeed("ctest", "--test-dir", source + "build", "--output-on-failure"), Does.Contain("100% tests passed").And.Contain("out of 2"));
    }

    [TestCaseSource(nameof(Builds))]
    public void Pkg_config_finds_it(CBuild build)
    {
        CTools.Need("pkg-config", "cc");
        // Moved after the installation: nothing in it says where it was.
        var installed = Install(build).TrimEnd('/');
        var prefix = installed + "-moved";
        Directory.Move(installed, prefix);
        try
        {
            var search = new Dictionary<string, string> { ["PKG_CONFIG_PATH"] = Directory.EnumerateDirectories(prefix, "pkgconfig", SearchOption.AllDirectories).Single() };
            string Ask(params string[] flags)
            {
                var (code, text) = CTools.Run(search, "pkg-config", [.. flags, "dit"]);
                Assert.That(code, Is.Zero, text);
                return text.Trim();
            }

            var source = Sources($"pkgconfig-{build}", "");
            string[] flags = Ask("--cflags", "--libs").Split(' ', StringSplitOptions.RemoveEmptyEntries);
            var library = Path.GetFullPath(Ask("--variable=libdir"));
            CTools.Succeed("cc", ["-o", source + "consumer", source + "consumer.c", .. flags, "-Wl,-rpath," + library]);
            Assert.That(CTools.Succeed(source + "consumer", Ask("--variable=weights")), Is.EqualTo("64 pixels a side\n"));
        }
        finally
        {
            Directory.Move(prefix, installed);
        }
    }

    [Test]
    public void Installed_program_finds_its_weights()
    {
        var (code, text) = DiTRuntime.Tests.Cuda.HostC.Run(Path.Combine(Install(CBuild.Gcc), "bin/dit"), "info", "--json");
        Assert.That(code, Is.Zero, text);
        Assert.That(text, Does.Contain("\"image_size\":64"));
    }

    [Test]
    public void Subdirectory_gives_the_library_alone()
    {
        CTools.Need("cmake", "cc");
        var source = Sources("subdirectory", AddsSubdirectory);
        CTools.Succeed("cmake", "-S", source, "-B", source + "build", $"-DDIT_FOLDER={ExportedModels.Of(ExportCase.Small[0]).Folder}", "-DCMAKE_BUILD_TYPE=Debug");
        Assert.That(CTools.Succeed("cmake", "--build", source + "build", "--target", "help"), Does.Contain("consumer").And.Not.Contain("dit_program"));
    }

    [TestCaseSource(nameof(Builds))]
    public void Ctest_runs_the_golden_vectors(CBuild build) =>
        Assert.That(CTools.Succeed("ctest", "--test-dir", build.Folder, "--output-on-failure"), Does.Contain("100% tests passed"));

    [Test]
    public void Library_is_small_and_shows_its_calls_alone()
    {
        CTools.Need("strip", "nm");
        var stripped = ExportedModels.Scratch("libdit-stripped.so");
        CTools.Succeed("strip", "-o", stripped, Path.Combine(CBuild.Clang.Folder, "libdit.so"));
        var names = CTools.Succeed("nm", "--dynamic", "--defined-only", stripped).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split(' ')[^1]).ToArray();
        var declared = File.ReadAllText(Path.Combine(ExportedModels.Of(ExportCase.Small[0]).Folder, "dit.h"));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(new FileInfo(stripped).Length, Is.LessThan(300_000));
            Assert.That(names, Has.Length.GreaterThan(15));
            foreach (var name in names) Assert.That(declared, Does.Contain($"{name}("), name);
        }

        var archive = ExportedModels.Scratch("libdit-stripped.a");
        CTools.Succeed("strip", "--strip-debug", "-o", archive, Path.Combine(CBuild.Gcc.Folder, "libdit.a"));
        Assert.That(new FileInfo(archive).Length, Is.LessThan(300_000));
    }

    private static string Install(CBuild build)
    {
        var prefix = ExportedModels.Scratch($"installed-{build}/");
        if (!Directory.EnumerateFileSystemEntries(prefix).Any()) CTools.Succeed("cmake", "--install", build.Folder, "--prefix", prefix);
        return prefix;
    }

    private static string Sources(string name, string lists)
    {
        var folder = ExportedModels.Scratch(name + "/");
        File.WriteAllText(folder + "consumer.c", Consumer);
        File.WriteAllText(folder + "consumer.cpp", Consumer);
        File.WriteAllText(folder + "CMakeLists.txt", lists);
        return folder;
    }
}

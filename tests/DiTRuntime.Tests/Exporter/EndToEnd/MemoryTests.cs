using System.Globalization;
using System.Text.Json;
using DiTRuntime.Tests.Cuda;

namespace DiTRuntime.Tests.Exporter.EndToEnd;

/// <summary>The memory plan of a model that is large enough for pages and code not to matter, against what the system saw.</summary>
internal sealed class MemoryTests
{
    private const string Threads = "2";

    /// <summary>Runs a program and writes the most memory that it had, in bytes, to a file.</summary>
    private const string Meter = """
        #define _DEFAULT_SOURCE
        #include <stdio.h>
        #include <sys/resource.h>
        #include <sys/types.h>
        #include <sys/wait.h>
        #include <unistd.h>

        int main(int count, char** words) {
            if (count < 3) return 2;
            const pid_t child = fork();
            if (child == 0) {
                execv(words[2], words + 2);
                _exit(127);
            }
            int status = 0;
            struct rusage usage;
            if (wait4(child, &status, 0, &usage) != child) return 2;
            FILE* file = fopen(words[1], "w");
            fprintf(file, "%ld\n", usage.ru_maxrss * 1024);
            return fclose(file) == 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
        }

        """;

    private static readonly ExportCase s_source = new("dit-s2")
    {
        Configuration = "DiT-S/2",
        Reading = ["--vae", TestFiles.Golden("vae")],
        Sampling = ["--steps", "2", "--cfg-scale", "4"],
    };

    [Test]
    public void Peak_is_within_a_tenth_of_the_plan()
    {
        if (!OperatingSystem.IsLinux()) Assert.Ignore("the system's own counter, in bytes of Linux");
        var model = ExportedModels.Of(s_source);
        var (code, text) = CBuild.Gcc.Run(null, "info", model.Folder, "--json", "--threads", Threads);
        Assert.That(code, Is.Zero, text);
        var info = JsonDocument.Parse(text).RootElement;
        var planned = info.GetProperty("weight_bytes").GetInt64() + info.GetProperty("memory_bytes").GetInt64();

        var (meter, peak) = (ExportedModels.Scratch("meter"), ExportedModels.Scratch("peak.txt"));
        File.WriteAllText(meter + ".c", Meter);
        HostC.Compile(meter + ".c", meter);
        CTools.Succeed(meter, peak, Path.Combine(CBuild.Gcc.Folder, "dit"), "generate", model.Folder, "--steps", "2", "--threads", Threads, "--out", ExportedModels.Scratch("s2.png"));

        var measured = long.Parse(File.ReadAllText(peak), CultureInfo.InvariantCulture);
        TestContext.Out.WriteLine($"planned {planned:N0} bytes, measured {measured:N0}: {100.0 * measured / planned:F1} %");
        Assert.That(measured, Is.EqualTo(planned).Within(10).Percent);
    }
}

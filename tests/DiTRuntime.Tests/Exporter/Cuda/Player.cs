using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Exporter;
using DiTRuntime.Exporter.Cuda;
using DiTRuntime.Tests.Checkpoints;
using DiTRuntime.Tests.Cuda;

namespace DiTRuntime.Tests.Exporter.Cuda;

/// <summary>The exported player, built with the host's compiler and run as a program of its own.</summary>
internal static class Player
{
    private static readonly TestFolder s_folder = MakeFolder();
    private static readonly Lazy<string> s_emulated = new(() => Build(s_folder["play-emulated"], Emulator(), "-DDIT_EMULATED"));
    private static readonly Lazy<string> s_native = new(() => BuildNative(s_folder["play-native"]));

    /// <summary>Linked with the emulator.</summary>
    public static string Emulated
    {
        get
        {
            _ = TestDevice.Device;
            return s_emulated.Value;
        }
    }

    /// <summary>Loads the CUDA driver.</summary>
    public static string Native => s_native.Value;

    private static string Runtime => Path.Combine(TestFiles.Root, "tools/DiTRuntime.Exporter/runtime");

    /// <summary>Exports a model for the player.</summary>
    /// <returns>The weights file.</returns>
    public static string Export(
        TestFolder folder, ExportSource source, Func<ExportSettings, ExportSettings>? change = null, string architecture = CudaArchitecture.EmulatedName,
        Func<CudaArchitecture, ResourceList, IKernelCompiler>? compiler = null)
    {
        var settings = new ExportSettings { Target = ExportTarget.Cuda, OutputFolder = folder.Root, Architectures = [architecture], Steps = 2 };
        var cache = new KernelCache(Path.Combine(TestFiles.Root, ".build/kernel-cache"));
        new CudaExport(source, change?.Invoke(settings) ?? settings, compiler ?? ((target, owned) => target.OpenCompiler(owned, cache))).Write(folder["weights.dit"], CancellationToken.None);
        return folder["weights.dit"];
    }

    /// <summary>Runs it.</summary>
    /// <returns>Its exit code and what it wrote.</returns>
    public static (int Code, string Text) Run(string program, string weights, string output, PlayedRun run, params (string Name, string Value)[] environment) =>
        HostC.Run("/usr/bin/env", [.. environment.Select(pair => $"{pair.Name}={pair.Value}"), program, weights, output, .. run.Words]);

    /// <summary>The images that a run of the player left.</summary>
    public static (float[] Latent, byte[] Pixels)[] Read(string output, int latentCount, int pixelCount)
    {
        var bytes = File.ReadAllBytes(output);
        var size = latentCount * sizeof(float) + pixelCount;
        Assert.That(bytes.Length % size, Is.Zero);
        return [.. Enumerable.Range(0, bytes.Length / size).Select(i =>
            (MemoryMarshal.Cast<byte, float>(bytes.AsSpan(i * size, latentCount * sizeof(float))).ToArray(), bytes[(i * size + latentCount * sizeof(float))..((i + 1) * size)]))];
    }

    /// <summary>Builds it to load the CUDA driver.</summary>
    /// <returns>The program.</returns>
    public static string BuildNative(string program, params string[] options) => Build(program, [.. options, "-ldl"]);

    /// <summary>Builds an exported folder's program to run on the emulated device.</summary>
    public static string BuildFolder(string folder, string program)
    {
        _ = TestDevice.Device;
        HostC.Compile(Path.Combine(folder, "main.c"), program, "-std=c99", "-Wpedantic", "-DDIT_EMULATED", Path.Combine(folder, "dit.c"), Emulator(), "-lm", "-pthread");
        return program;
    }

    private static string Build(string program, params string[] options)
    {
        HostC.Compile(
            Path.Combine(TestFiles.Root, "tests/DiTRuntime.Tests/Exporter/Cuda/play.c"), program,
            ["-std=c99", "-Wpedantic", "-DDIT_CUDA", "-I", Runtime, Path.Combine(Runtime, "dit.c"), .. options, "-lm", "-pthread", "-Wl,--no-as-needed", "-ldl"]);
        return program;
    }

    /// <summary>The emulator as a library of its own, as `cmake` builds it.</summary>
    private static string Emulator()
    {
        File.WriteAllBytes(s_folder["libdit_emulator.so"], TestDevice.EmulatedCompiler.Compile(HostCompiler.Runtime).Code);
        return s_folder["libdit_emulator.so"];
    }

    private static TestFolder MakeFolder()
    {
        var folder = new TestFolder();
        AppDomain.CurrentDomain.ProcessExit += (_, _) => folder.Dispose();
        return folder;
    }
}

/// <summary>What the player is to draw.</summary>
internal sealed record PlayedRun(int Steps, string Sampler, float Guidance, ulong Seed, int[] Labels)
{
    /// <summary>As the program takes it.</summary>
    public string[] Words => [.. new object[] { Steps, Sampler, Guidance, Seed }.Concat(Labels.Cast<object>()).Select(word => FormattableString.Invariant($"{word}"))];
}

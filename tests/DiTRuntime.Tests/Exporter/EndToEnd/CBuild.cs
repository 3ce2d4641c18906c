using System.Runtime.InteropServices;
using DiTRuntime.Tests.Cuda;

namespace DiTRuntime.Tests.Exporter.EndToEnd;

/// <summary>The exported program, built one way. The sources are the same for every model, so one build draws with all.</summary>
internal sealed class CBuild
{
    private const int Unsupported = 5;

    private readonly Lazy<string> _folder;
    private readonly string _program;

    private CBuild(string name, string[] tools, Func<string[]> configure, string program = "dit")
    {
        Name = name;
        _program = program;
        _folder = new Lazy<string>(() =>
        {
            CTools.Need(["cmake", .. tools]);
            var folder = ExportedModels.Scratch($"build-{name}/");
            CTools.Succeed("cmake", ["-B", folder, .. configure()]);
            CTools.Succeed("cmake", "--build", folder, "--parallel", "2");
            return folder;
        });
    }

    /// <summary>gcc, a static library.</summary>
    public static CBuild Gcc { get; } = new("gcc", ["gcc"], () => [.. Export(), "-DCMAKE_C_COMPILER=gcc"]);

    /// <summary>clang, a shared library.</summary>
    public static CBuild Clang { get; } = new("clang", ["clang"], () => [.. Export(), "-DCMAKE_C_COMPILER=clang", "-DBUILD_SHARED_LIBS=ON"]);

    /// <summary>For 64-bit ARM.</summary>
    public static CBuild Arm { get; } = new(
        "aarch64", ["aarch64-linux-gnu-gcc", "qemu-aarch64"],
        () => [.. Export(), $"-DCMAKE_TOOLCHAIN_FILE={Path.Combine(TestFiles.Root, "tools/DiTRuntime.Exporter/templates/toolchain-aarch64.cmake")}"]);

    /// <summary>The repository's own CMake project with address and undefined-behaviour sanitizers in all that is C: exports for processors and for the emulated device, and all tests.</summary>
    public static CBuild Repository { get; } = new(
        "sanitize", ["gcc", "g++"],
        () =>
        [
            "-S", TestFiles.Root, "-DCMAKE_C_COMPILER=gcc", "-DCMAKE_C_FLAGS_RELEASE=-O1", "-DDIT_SANITIZE=address,undefined",
            $"-DDIT_EXPORT_DIR={Base.Folder}", $"-DDIT_CUDA_EXPORT_DIR={ExportedModels.ForEmulator(ExportCase.Small[0])}",
        ],
        "tools/DiTRuntime.Exporter/runtime/tests/exported/dit");

    /// <summary>Its name.</summary>
    public string Name { get; }

    /// <summary>The build's folder, built.</summary>
    public string Folder => _folder.Value;

    /// <inheritdoc/>
    public override string ToString() => Name;

    /// <summary>Runs the program.</summary>
    /// <param name="processor">Which processor QEMU shall be; null to run it as it is.</param>
    /// <param name="arguments">Its arguments.</param>
    public (int Code, string Text) Run(string? processor, params string[] arguments)
    {
        var program = Path.Combine(Folder, _program);
        return processor is null ? HostC.Run(program, arguments) : HostC.Run("qemu-aarch64", ["-cpu", processor, "-L", CTools.ArmRoot, program, .. arguments]);
    }

    /// <summary>Draws what the C# backend drew, and compares: latents bit for bit, pixels exactly.</summary>
    /// <param name="model">The model.</param>
    /// <param name="simd">Instructions, as --simd names them; the test is skipped where this processor lacks them.</param>
    /// <param name="processor">Which processor QEMU shall be; it draws the first image only.</param>
    public void DrawsTheSame(ExportCase model, string simd = "auto", string? processor = null)
    {
        var expected = ExportedModels.Of(model);
        var place = ExportedModels.Scratch($"drawn-{Name}-{processor}-{model.Name}-{simd}/");
        var latents = Path.Combine(place, "latents.bin");
        var count = processor is null ? 2 : 1;
        var (code, text) = Run(processor, [
            "generate", expected.Folder, .. model.Sampling, .. model.Drawing, .. ExportedModels.Request, "--count", $"{count}", "--simd", simd, "--threads", "2", "--save-latents", latents,
            "--out", Path.Combine(place, "{index}.png"),
        ]);
        if (code == Unsupported) Assert.Ignore($"{simd}: {text.Trim()}");
        Assert.That(code, Is.Zero, text);
        var drawn = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(latents)).ToArray();
        Assert.That(FirstDifference(expected.Latents[..(expected.Latents.Length / 2 * count)], drawn), Is.Empty, "latents");
        for (var i = 0; i < count; i++) Assert.That(ExportedModels.Image(place, i).Pixels, Is.EqualTo(expected.Images[i].Pixels), "pixels");
    }

    /// <summary>Runs the golden vectors.</summary>
    /// <returns>The program's exit code, and all it wrote.</returns>
    public (int Code, string Text) Verify(string folder, string? processor = null, params string[] more) => Run(processor, ["verify", folder, "--threads", "2", .. more]);

    /// <summary>The export whose sources are built.</summary>
    private static ExportedModel Base => ExportedModels.Of(ExportCase.Small[0]);

    private static string[] Export() => ["-S", Base.Folder, "-DDIT_WERROR=ON"];

    private static string FirstDifference(float[] expected, float[] actual)
    {
        if (expected.Length != actual.Length) return $"{actual.Length} values in place of {expected.Length}";
        var different = Enumerable.Range(0, expected.Length).Where(i => BitConverter.SingleToInt32Bits(expected[i]) != BitConverter.SingleToInt32Bits(actual[i])).ToArray();
        return different.Length == 0 ? "" : $"{different.Length} of {expected.Length} differ, the first at {different[0]}: {actual[different[0]]:G9} in place of {expected[different[0]]:G9}; relative error {Relative.Error(actual, expected):G3}";
    }
}

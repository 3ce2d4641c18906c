using System.Reflection;

namespace DiTRuntime.Tests;

/// <summary>Where the tests' data lies.</summary>
internal static class TestFiles
{
    /// <summary>The folder of the solution: where it was built, or DIT_ROOT where the tests were carried to another machine.</summary>
    public static string Root { get; } = Environment.GetEnvironmentVariable("DIT_ROOT") is { Length: > 0 } root ? Path.GetFullPath(root) : typeof(TestFiles).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(a => a.Key == "RepositoryRoot").Value!;

    /// <summary>Category of sweeps that ./test leaves to CI, unless they are asked for by name.</summary>
    public const string Slow = "Slow";

    /// <summary>The built-in digit model.</summary>
    public static string DigitModel => Path.Combine(Root, "src/DiTRuntime.Cli/models/digits.safetensors");

    /// <summary>A path under tests/goldens.</summary>
    public static string Golden(string path) => Path.Combine(Root, "tests/goldens", path);

    /// <summary>A path under tests/models.</summary>
    public static string Model(string path) => Path.Combine(Root, "tests/models", path);

    /// <summary>Third-party weights that stay outside the repository; skips the test where they are absent.</summary>
    public static string ThirdParty(string path)
    {
        var full = Path.Combine(Root, "../shared/goldens", path);
        if (!File.Exists(full)) Assert.Ignore($"{path}: third-party weights, not on this machine");
        return full;
    }
}

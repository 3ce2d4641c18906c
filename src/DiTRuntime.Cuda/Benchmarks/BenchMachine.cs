using System.Globalization;
using System.Text;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Benchmarks;

/// <summary>Where and from what a result comes.</summary>
/// <param name="Device">The device.</param>
/// <param name="MemoryBytes">All its memory.</param>
/// <param name="Driver">The driver, as people call it.</param>
/// <param name="Compiler">What compiled the kernels.</param>
/// <param name="Commit">Of the source, or "unknown".</param>
/// <param name="Date">When, in UTC.</param>
/// <param name="CommandLine">What was run.</param>
public sealed record BenchMachine(GpuProperties Device, long MemoryBytes, string Driver, string Compiler, string Commit, DateTime Date, string CommandLine)
{
    /// <summary>Describes a device; the commit is read from DIT_COMMIT and the driver's own version from DIT_DRIVER, which scripts set.</summary>
    /// <param name="device">The device.</param>
    /// <param name="compiler">Its compiler.</param>
    /// <param name="commandLine">What was run.</param>
    public static BenchMachine Describe(IGpuDevice device, IKernelCompiler compiler, string commandLine)
    {
        var version = device.Properties.DriverVersion;
        var cuda = version == 0 ? "none" : string.Create(CultureInfo.InvariantCulture, $"CUDA {version / 1000}.{version % 1000 / 10}");
        return new BenchMachine(
            device.Properties,
            device.Memory.TotalBytes,
            Variable("DIT_DRIVER") is { } driver ? $"{driver}, {cuda}" : cuda,
            compiler.Name,
            Variable("DIT_COMMIT") ?? "unknown",
            DateTime.UtcNow,
            commandLine);
    }

    /// <summary>The device's name as a folder's: "nvidia-h200".</summary>
    public string Slug
    {
        get
        {
            var slug = new StringBuilder();
            foreach (var letter in Device.Name)
            {
                if (char.IsAsciiLetterOrDigit(letter)) slug.Append(char.ToLowerInvariant(letter));
                else if (slug.Length > 0 && slug[^1] != '-') slug.Append('-');
            }

            return slug.ToString().TrimEnd('-') is { Length: > 0 } name ? name : "gpu";
        }
    }

    private static string? Variable(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;
}

using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Compilation;

/// <summary>Turns a kernel's source into what a device loads. Safe to call from several threads.</summary>
public interface IKernelCompiler
{
    /// <summary>What people call it: "NVRTC 12.4".</summary>
    string Name => Identity;

    /// <summary>Which compiler, which version, for which target; part of the cache's key.</summary>
    string Identity { get; }

    /// <summary>Compiles.</summary>
    /// <exception cref="KernelCompilationException">The source does not compile; carries the log.</exception>
    KernelImage Compile(KernelSpec spec);
}

/// <summary>A kernel did not compile (exit code 1).</summary>
/// <param name="spec">Which.</param>
/// <param name="log">What the compiler said.</param>
public sealed class KernelCompilationException(KernelSpec spec, string log) : GpuException($"kernel {spec} does not compile: {log}")
{
    /// <summary>What the compiler said.</summary>
    public string Log { get; } = log;
}

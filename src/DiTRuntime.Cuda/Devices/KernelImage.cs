namespace DiTRuntime.Cuda.Devices;

/// <summary>A compiled kernel.</summary>
/// <param name="Title">What was compiled, for errors and listings.</param>
/// <param name="Code">A cubin, or for the emulated device a shared library.</param>
/// <param name="Log">What the compiler said: warnings, registers, spills.</param>
public sealed record KernelImage(string Title, byte[] Code, string Log);

namespace DiTRuntime.Cuda.Devices;

/// <summary>A call of the driver, or a kernel, failed (exit code 1).</summary>
/// <param name="message">What was called, with the driver's own text.</param>
/// <param name="inner">The cause, if any.</param>
public class GpuException(string message, Exception? inner = null) : DiTException(message, inner)
{
    /// <inheritdoc/>
    public override ExitCode ExitCode => ExitCode.Failure;
}

/// <summary>Device memory does not suffice, or a budget does not (exit code 4).</summary>
/// <param name="message">What was asked for, what there is, what to do.</param>
public sealed class GpuOutOfMemoryException(string message) : GpuException(message)
{
    /// <inheritdoc/>
    public override ExitCode ExitCode => ExitCode.OutOfMemory;
}

/// <summary>No such device, library or architecture here (exit code 5).</summary>
/// <param name="message">What is missing, and what would be needed.</param>
/// <param name="inner">The cause, if any.</param>
public sealed class GpuUnavailableException(string message, Exception? inner = null) : GpuException(message, inner)
{
    /// <inheritdoc/>
    public override ExitCode ExitCode => ExitCode.Unsupported;
}

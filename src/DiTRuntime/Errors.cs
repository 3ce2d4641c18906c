namespace DiTRuntime;

/// <summary>Exit codes of the <c>dit</c> command; every <see cref="DiTException"/> carries the one it ends with.</summary>
public enum ExitCode
{
    /// <summary>Done.</summary>
    Ok = 0,

    /// <summary>A failure that is neither of the input nor of the machine.</summary>
    Failure = 1,

    /// <summary>The command cannot be carried out as written: a flag, a label, or an output path.</summary>
    Usage = 2,

    /// <summary>A file is missing or not understood.</summary>
    InvalidFile = 3,

    /// <summary>Out of memory, or over the given budget.</summary>
    OutOfMemory = 4,

    /// <summary>The device or its architecture is not supported.</summary>
    Unsupported = 5,

    /// <summary>A verification or a quality bar was missed.</summary>
    BarMissed = 6,

    /// <summary>Cancelled by the user.</summary>
    Cancelled = 130,
}

/// <summary>An error meant for the user: one line that says what was found, what was expected and what to do.</summary>
public abstract class DiTException(string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>The exit code the command ends with.</summary>
    public abstract ExitCode ExitCode { get; }

    /// <summary>Whether a failure is a want of memory, of the host or of a device.</summary>
    internal static bool IsOutOfMemory(Exception e) => e is OutOfMemoryException or DiTException { ExitCode: ExitCode.OutOfMemory };
}

/// <summary>A file that is missing, damaged, hostile or of another kind than expected (exit code 3).</summary>
/// <remarks>The only exception that reading a file of any format lets escape.</remarks>
public sealed class InvalidFileException : DiTException
{
    /// <param name="file">The file's path as the user gave it.</param>
    /// <param name="problem">What was found and what was expected, without the path.</param>
    /// <param name="inner">The cause, if any.</param>
    public InvalidFileException(string file, string problem, Exception? inner = null)
        : base($"{file}: {problem}", inner) => File = file;

    /// <summary>The file's path as the user gave it.</summary>
    public string File { get; }

    /// <inheritdoc/>
    public override ExitCode ExitCode => ExitCode.InvalidFile;
}

/// <summary>A flag or an argument that makes no sense, or does not fit the model (exit code 2).</summary>
public sealed class UsageException(string message) : DiTException(message)
{
    /// <inheritdoc/>
    public override ExitCode ExitCode => ExitCode.Usage;
}

/// <summary>An output that cannot be written: no such folder, no permission, no space (exit code 2).</summary>
public sealed class OutputException(string file, string problem, Exception? inner = null)
    : DiTException($"{file}: {problem}", inner)
{
    /// <inheritdoc/>
    public override ExitCode ExitCode => ExitCode.Usage;
}

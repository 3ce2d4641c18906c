namespace DiTRuntime.Cli;

/// <summary>A backend that this build does not have (exit code 5).</summary>
internal sealed class BackendUnavailableException(string message) : DiTException(message)
{
    /// <inheritdoc/>
    public override ExitCode ExitCode => ExitCode.Unsupported;
}

namespace DiTRuntime.Cli;

/// <summary>A verification or a quality bar was missed (exit code 6).</summary>
internal sealed class QualityBarException(string message) : DiTException(message)
{
    /// <inheritdoc/>
    public override ExitCode ExitCode => ExitCode.BarMissed;
}

namespace DiTRuntime.Cli;

/// <summary>Shows how far a command is.</summary>
internal interface IProgressDisplay
{
    /// <summary>Reports a stage; its bar appears with the first report.</summary>
    /// <param name="stage">What is being done: "sampling".</param>
    /// <param name="unit">What is counted: "steps".</param>
    /// <param name="done">How many are done.</param>
    /// <param name="total">How many there are.</param>
    void Report(string stage, string unit, double done, double total);
}

/// <summary>Shows nothing: nobody watches.</summary>
internal sealed class NoProgress : IProgressDisplay
{
    private NoProgress()
    {
    }

    /// <summary>The one instance.</summary>
    public static NoProgress Instance { get; } = new();

    /// <inheritdoc/>
    public void Report(string stage, string unit, double done, double total)
    {
        // Nobody watches.
    }
}

namespace DiTRuntime.Backends;

/// <summary>Operations that are run again and again on the same tensors.</summary>
public abstract class RepeatedStep : IDisposable
{
    /// <summary>Runs them once more; a GPU may still be at work when the call returns.</summary>
    public abstract void Run();

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives back what was recorded.</summary>
    protected virtual void Dispose(bool disposing)
    {
        // Nothing by default.
    }
}

/// <summary>Carries the operations out each time.</summary>
internal sealed class DirectStep(Action body) : RepeatedStep
{
    public override void Run() => body();
}

namespace DiTRuntime.Cli;

/// <summary>Calls back on the reporting thread, at once; the framework's <see cref="Progress{T}"/> queues.</summary>
internal sealed class DirectProgress<T>(Action<T> report) : IProgress<T>
{
    /// <inheritdoc/>
    public void Report(T value) => report(value);
}

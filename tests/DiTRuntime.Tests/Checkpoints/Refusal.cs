using DiTRuntime.Checkpoints;

namespace DiTRuntime.Tests.Checkpoints;

/// <summary>Checks how a wrong file is refused: one line, the file named first, exit code 3.</summary>
internal static class Refusal
{
    /// <summary>The message with which opening is refused, without the file's name.</summary>
    public static string Of(string path) => Of(path, () => Checkpoint.Open(path).Dispose());

    /// <summary>The message with which an action on a file is refused, without the file's name.</summary>
    public static string Of(string path, Action action)
    {
        var refusal = Assert.Throws<InvalidFileException>(() => action())!;
        Assert.That(refusal.Message, Does.StartWith(path).And.Not.Contain('\n'));
        Assert.That(refusal.ExitCode, Is.EqualTo(ExitCode.InvalidFile));
        return refusal.Message[path.Length..];
    }
}

using DiTRuntime.Checkpoints;

namespace DiTRuntime.Calibration.Evaluation;

/// <summary>Turns what the framework throws about files and zip archives into the project's own errors.</summary>
internal static class NpzFailure
{
    /// <summary>Does something with a file.</summary>
    /// <exception cref="InvalidFileException">The file is missing, damaged, or cannot be read.</exception>
    public static T Guard<T>(string path, Func<T> action)
    {
        try
        {
            return action();
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new InvalidFileException(path, "no such file", e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new InvalidFileException(path, Directory.Exists(path) ? "this is a folder, a file was expected" : "no permission to read it", e);
        }
        catch (Exception e) when (IsOfContent(e))
        {
            throw new InvalidFileException(path, $"no .npz archive, or damaged ({TensorRules.Printable(e.Message)})", e);
        }
    }

    /// <summary>Whether an exception says that an archive is not what it should be.</summary>
    public static bool IsOfContent(Exception e) => e is InvalidDataException or IOException or NotSupportedException or ArgumentException or OverflowException;
}

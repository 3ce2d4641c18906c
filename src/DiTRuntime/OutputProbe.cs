namespace DiTRuntime;

/// <summary>Tries outputs before the long work, so that it is not lost to a wrong path.</summary>
public static class OutputProbe
{
    /// <summary>Tries that a file can be made at a path; leaves no file behind.</summary>
    /// <param name="path">Where the file shall be.</param>
    /// <param name="createFolder">Whether to make the folder above when it is missing.</param>
    /// <exception cref="OutputException">The folder above is missing or takes no files, or a folder stands at the path itself.</exception>
    public static void Check(string path, bool createFolder = false)
    {
        if (string.IsNullOrWhiteSpace(path)) throw new OutputException("''", "cannot be written: an empty name");
        if (Directory.Exists(path)) throw new OutputException(path, "cannot be written: this is a folder");
        try
        {
            var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
            if (createFolder) Directory.CreateDirectory(folder);
            var probe = Path.Combine(folder, $".{Guid.NewGuid():n}.partial");
            using var stream = new FileStream(probe, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 1, FileOptions.DeleteOnClose);
        }
        catch (DirectoryNotFoundException e)
        {
            throw new OutputException(path, "cannot be written: no such folder", e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new OutputException(path, "cannot be written: no permission", e);
        }
        catch (IOException e)
        {
            throw new OutputException(path, $"cannot be written ({e.Message})", e);
        }
    }
}

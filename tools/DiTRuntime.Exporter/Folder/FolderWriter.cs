namespace DiTRuntime.Exporter.Folder;

/// <summary>A folder that appears whole or not at all: filled beside its place under another name, then renamed.</summary>
internal static class FolderWriter
{
    /// <summary>The file that every export holds; a folder without it is somebody's own and never replaced.</summary>
    public const string WeightsName = "weights.dit";

    /// <summary>Refuses a place that is taken, before any work.</summary>
    /// <param name="path">Where the folder shall be.</param>
    /// <param name="force">Whether an earlier export may be replaced.</param>
    /// <exception cref="OutputException">A file or a folder that holds something stands there.</exception>
    public static void Check(string path, bool force)
    {
        if (string.IsNullOrWhiteSpace(path)) throw new OutputException("''", "cannot be written: an empty name");
        if (File.Exists(path)) throw new OutputException(path, "cannot be written: a file stands there; an export is a folder");
        if (!Directory.Exists(path) || !Directory.EnumerateFileSystemEntries(path).Any()) return;
        if (!force) throw new OutputException(path, "cannot be written: the folder holds something; give another name, or --force to replace an earlier export");
        if (!File.Exists(Path.Combine(path, WeightsName))) throw new OutputException(path, $"cannot be written: the folder holds something that is no export (there is no {WeightsName}); --force replaces exports only");
    }

    /// <summary>Makes the folder.</summary>
    /// <param name="path">Where it shall be; the folder above is made where it is missing.</param>
    /// <param name="force">Whether an earlier export may be replaced.</param>
    /// <param name="fill">Fills the folder whose path it is given.</param>
    /// <exception cref="OutputException">It cannot be written.</exception>
    public static void Write(string path, bool force, Action<string> fill)
    {
        Check(path, force);
        var place = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        var temporary = $"{place}.{Environment.ProcessId:x}.partial";
        try
        {
            Directory.CreateDirectory(temporary);
            fill(temporary);
            Replace(place, temporary);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new OutputException(path, "cannot be written: no permission", e);
        }
        catch (IOException e)
        {
            throw new OutputException(path, $"cannot be written ({e.Message.Replace(temporary, path, StringComparison.Ordinal)})", e);
        }
        finally
        {
            Discard(temporary);
        }
    }

    private static void Replace(string place, string made)
    {
        if (!Directory.Exists(place))
        {
            Directory.Move(made, place);
            return;
        }

        // The earlier export steps aside and returns if its successor cannot take its place.
        var aside = $"{place}.{Environment.ProcessId:x}.replaced";
        Directory.Move(place, aside);
        try
        {
            Directory.Move(made, place);
        }
        catch
        {
            Directory.Move(aside, place);
            throw;
        }

        Discard(aside);
    }

    private static void Discard(string folder)
    {
        try
        {
            if (Directory.Exists(folder)) Directory.Delete(folder, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The failure that brought us here is the one to report.
        }
    }
}

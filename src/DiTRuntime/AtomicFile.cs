using System.Collections.Concurrent;

namespace DiTRuntime;

/// <summary>Files that appear whole or not at all: written beside their place under another name, then renamed.</summary>
public static class AtomicFile
{
    private const string Suffix = ".partial";

    private static readonly ConcurrentDictionary<string, byte> s_unfinished = new();

    /// <summary>Writes a file; on any failure nothing is left and an existing file stays as it was.</summary>
    /// <param name="path">Where the file shall be.</param>
    /// <param name="write">Writes the content to the stream (seekable).</param>
    /// <exception cref="OutputException">The file cannot be written: no such folder, no permission, no space.</exception>
    public static void Write(string path, Action<Stream> write)
    {
        var temporary = $"{path}.{Environment.ProcessId:x}-{Environment.CurrentManagedThreadId:x}{Suffix}";
        try
        {
            s_unfinished[temporary] = 0;
            using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.ReadWrite, FileShare.None, 1 << 16))
            {
                write(stream);
                stream.Flush(flushToDisk: true);
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch (DirectoryNotFoundException e)
        {
            throw new OutputException(path, "cannot be written: no such folder", e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new OutputException(path, Directory.Exists(path) ? "cannot be written: this is a folder" : "cannot be written: no permission", e);
        }
        catch (IOException e)
        {
            // The system names the temporary file, which the user has never heard of.
            throw new OutputException(path, $"cannot be written ({e.Message.Replace(temporary, path, StringComparison.Ordinal)})", e);
        }
        finally
        {
            Discard(temporary);
        }
    }

    /// <summary>Deletes what other processes, ended before their time, have left of a file; for a caller who knows that none is writing it.</summary>
    public static void DiscardAbandoned(string path)
    {
        try
        {
            foreach (var temporary in Directory.GetFiles(Path.GetDirectoryName(Path.GetFullPath(path))!, $"{Path.GetFileName(path)}.*{Suffix}")) Discard(temporary);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Nothing depends on it.
        }
    }

    /// <summary>Deletes what unfinished writes have left so far; for a process that must end at once.</summary>
    public static void DiscardUnfinished()
    {
        foreach (var path in s_unfinished.Keys) Discard(path);
    }

    private static void Discard(string temporary)
    {
        try
        {
            File.Delete(temporary);
            s_unfinished.TryRemove(temporary, out _);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The failure that brought us here is the one to report.
        }
    }
}

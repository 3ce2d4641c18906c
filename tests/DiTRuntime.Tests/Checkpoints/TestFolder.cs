using System.Buffers.Binary;
using System.Text;

namespace DiTRuntime.Tests.Checkpoints;

/// <summary>A folder that goes away with the test.</summary>
internal sealed class TestFolder : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("dit-test-");

    /// <summary>The folder's path.</summary>
    public string Root => _folder.FullName;

    /// <summary>A path inside; folders on the way are made.</summary>
    public string this[string name]
    {
        get
        {
            var path = Path.Combine(Root, name);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            return path;
        }
    }

    /// <summary>Writes a file and returns its path.</summary>
    public string Write(string name, byte[] content)
    {
        File.WriteAllBytes(this[name], content);
        return this[name];
    }

    /// <summary>Writes a text file and returns its path.</summary>
    public string Write(string name, string content) => Write(name, Encoding.UTF8.GetBytes(content));

    /// <summary>Writes a safetensors file of any header, also a wrong one, and returns its path.</summary>
    public string WriteSafetensors(string name, string json, int dataBytes) => Write(name, Safetensors(json, new byte[dataBytes]));

    /// <summary>The bytes of a safetensors file of any header.</summary>
    public static byte[] Safetensors(string json, byte[] data)
    {
        var length = new byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)Encoding.UTF8.GetByteCount(json));
        return [.. length, .. Encoding.UTF8.GetBytes(json), .. data];
    }

    public void Dispose() => _folder.Delete(recursive: true);
}

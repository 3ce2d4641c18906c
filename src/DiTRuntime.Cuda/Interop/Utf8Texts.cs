using System.Runtime.InteropServices;

namespace DiTRuntime.Cuda.Interop;

/// <summary>Zero-terminated UTF-8 copies of strings and arrays of them, valid until disposal.</summary>
internal sealed unsafe class Utf8Texts : IDisposable
{
    private readonly List<nint> _blocks = [];

    /// <summary>A copy of one.</summary>
    public byte* Add(string text)
    {
        var copy = Marshal.StringToCoTaskMemUTF8(text);
        _blocks.Add(copy);
        return (byte*)copy;
    }

    /// <summary>An array of copies; null of none.</summary>
    public byte** AddAll(IEnumerable<string> texts)
    {
        var all = texts.ToArray();
        if (all.Length == 0) return null;
        var array = (byte**)Marshal.AllocCoTaskMem(all.Length * sizeof(byte*));
        _blocks.Add((nint)array);
        for (var i = 0; i < all.Length; i++) array[i] = Add(all[i]);
        return array;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var block in _blocks) Marshal.FreeCoTaskMem(block);
        _blocks.Clear();
    }
}

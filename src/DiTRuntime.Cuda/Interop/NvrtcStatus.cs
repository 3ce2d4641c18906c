using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Interop;

/// <summary>What a function of libnvrtc returns.</summary>
/// <param name="value">The native code.</param>
internal readonly struct NvrtcStatus(int value)
{
    private const int Compilation = 6;
    private readonly int _value = value;

    /// <summary>Whether the source, and nothing else, is at fault.</summary>
    public bool IsCompilationError => _value == Compilation;

    /// <summary>Turns a failure into an exception with the library's own text.</summary>
    /// <param name="api">Knows the text.</param>
    /// <param name="call">What was called.</param>
    /// <param name="log">What else the compiler said.</param>
    /// <exception cref="GpuException">It failed.</exception>
    public void ThrowIfFailed(NvrtcApi api, string call, string? log = null)
    {
        if (_value == 0) return;
        throw new GpuException($"{call}: {api.Describe(_value)} ({_value}){(string.IsNullOrEmpty(log) ? string.Empty : ": " + log)}");
    }
}

using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Interop;

/// <summary>What a function of libcuda returns (CUresult).</summary>
/// <param name="value">The native code.</param>
internal readonly struct DriverStatus(int value)
{
    private const int CUDA_ERROR_OUT_OF_MEMORY = 2;
    private readonly int _value = value;

    /// <summary>Whether the call did what it should; only where a failure has another way out than an exception.</summary>
    public bool Succeeded => _value == 0;

    /// <summary>Whether memory did not suffice.</summary>
    public bool IsOutOfMemory => _value == CUDA_ERROR_OUT_OF_MEMORY;

    /// <summary>Turns a failure into an exception with the driver's own name and text.</summary>
    /// <param name="api">Knows name and text.</param>
    /// <param name="call">What was called.</param>
    /// <param name="subject">What it was called for: a kernel's name, a size; null for nothing worth saying.</param>
    /// <exception cref="GpuOutOfMemoryException">Memory did not suffice.</exception>
    /// <exception cref="GpuException">It failed in another way.</exception>
    public void ThrowIfFailed(DriverApi api, string call, string? subject = null)
    {
        if (_value != 0) Throw(api, call, subject);
    }

    /// <summary>The driver's name and text for it.</summary>
    public unsafe string Describe(DriverApi api)
    {
        byte* name = null, text = null;
        api.cuGetErrorName(_value, &name);
        api.cuGetErrorString(_value, &text);
        return name is null ? $"error {_value}" : $"{Marshal.PtrToStringUTF8((nint)name)} ({_value}), {Marshal.PtrToStringUTF8((nint)text)}";
    }

    private void Throw(DriverApi api, string call, string? subject)
    {
        var message = $"{(subject is null ? string.Empty : subject + ": ")}{call}: {Describe(api)}";
        throw IsOutOfMemory ? new GpuOutOfMemoryException(message) : new GpuException(message);
    }
}

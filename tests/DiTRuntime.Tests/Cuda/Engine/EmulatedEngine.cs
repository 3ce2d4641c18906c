using DiTRuntime.Cuda;

namespace DiTRuntime.Tests.Cuda.Engine;

/// <summary>The whole engine on the emulated device.</summary>
internal static class EmulatedEngine
{
    /// <summary>A backend on the device that the tests share.</summary>
    public static CudaBackend Create(CudaOptions? options = null) => new(TestDevice.Device, TestDevice.Compiler, options);
}

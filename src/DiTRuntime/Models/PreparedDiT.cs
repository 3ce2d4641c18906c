using DiTRuntime.Backends;

namespace DiTRuntime.Models;

/// <summary>The weights of one block in a backend's layout.</summary>
/// <param name="Modulation">[6H, H]: used once per request.</param>
/// <param name="Qkv">[3H, H].</param>
/// <param name="Projection">[H, H].</param>
/// <param name="Fc1">[M, H].</param>
/// <param name="Fc2">[H, M].</param>
public sealed record PreparedBlock(PreparedLinear Modulation, PreparedLinear Qkv, PreparedLinear Projection, PreparedLinear Fc1, PreparedLinear Fc2)
    : IDisposable
{
    /// <inheritdoc/>
    public void Dispose()
    {
        Modulation.Dispose();
        Qkv.Dispose();
        Projection.Dispose();
        Fc1.Dispose();
        Fc2.Dispose();
    }
}

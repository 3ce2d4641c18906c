namespace DiTRuntime.Backends.Training;

/// <summary>The part of k-means that takes its time.</summary>
public interface IClusteringBackend : IDiTBackend
{
    /// <summary>The nearest codeword of every point: argmin_c Σᵢ wᵢ (pᵢ − cᵢ)², the first of equals. The same bits on any number of threads.</summary>
    /// <remarks>The sum is one chain of fused multiply-adds over ascending i: Σ ← (wᵢδᵢ)·δᵢ + Σ, δᵢ = pᵢ − cᵢ; so all backends choose alike.</remarks>
    /// <param name="points">p: F32 [n, d].</param>
    /// <param name="weights">w: F32 [n, d], or null for ones.</param>
    /// <param name="codewords">c: F32 [k, d].</param>
    /// <param name="codes">I32 [n]; receives the index.</param>
    /// <param name="distances">F32 [n]; receives the weighted squared distance.</param>
    void AssignNearest(Tensor points, Tensor? weights, Tensor codewords, Tensor codes, Tensor distances);
}

using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Tests.Backends;

/// <summary>Operations in the form in which tests call them once.</summary>
internal static class BackendExtensions
{
    /// <summary>A single step: noise F32 [images, C, S, S].</summary>
    public static void GuideAndUpdate(this IDiTBackend backend, Tensor prediction, SampleUpdate[] updates, Tensor? noise, Tensor latents)
    {
        using var table = backend.Prepare(updates, updates.Length);
        using var halves = noise is null ? null : backend.Allocate(ElementType.F32, [2, .. noise.Shape]);
        if (noise is not null)
        {
            var values = new float[noise.Count];
            backend.Download(noise, values);
            backend.UploadNoise(values, halves!, 0);
        }

        backend.GuideAndUpdate(prediction, table, halves, latents);
    }
}

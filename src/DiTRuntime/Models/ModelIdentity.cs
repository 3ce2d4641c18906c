using DiTRuntime.Backends.Cpu;
using DiTRuntime.Imaging;

namespace DiTRuntime.Models;

/// <summary>What the images of a model say about where they come from.</summary>
/// <param name="Name">The model's name, <see cref="ModelSource.NameOf"/>.</param>
/// <param name="Hash">Fingerprint of its weights.</param>
/// <param name="Compatibility">Which published implementation it agrees with.</param>
/// <param name="DecoderHash">Fingerprint of its decoder; null for a model that makes pixels.</param>
/// <param name="Backend">Name of the backend that runs it.</param>
public sealed record ModelIdentity(string Name, string Hash, Compatibility Compatibility, string? DecoderHash, string Backend)
{
    /// <summary>How an image was made, for its file.</summary>
    /// <param name="sampler">The sampler.</param>
    /// <param name="scale">s of guidance, as it was asked for.</param>
    /// <param name="label">Its class.</param>
    /// <param name="seed">Its seed.</param>
    /// <param name="image">Its pixels.</param>
    /// <exception cref="UsageException">The sampler's spacing does not exist.</exception>
    public GenerationParameters ParametersOf(SamplerOptions sampler, double scale, int label, ulong seed, Image image) => new()
    {
        Class = label,
        Steps = sampler.StepCount,
        Sampler = sampler.Sampler,
        Spacing = sampler.ResolveSpacing().Name,
        Eta = sampler.Eta == 0 ? null : sampler.Eta,
        CfgScale = scale,
        Seed = seed,
        Width = image.Width,
        Height = image.Height,
        Model = Name,
        ModelHash = Hash,
        Compat = Compatibility == Compatibility.Official ? null : Compatibility.Name(),
        VaeHash = DecoderHash,
        Backend = Backend == CpuBackend.BackendName ? null : Backend,
        Version = ProductVersion.Text,
    };
}

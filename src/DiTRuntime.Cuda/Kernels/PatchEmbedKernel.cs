using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>What <see cref="PatchEmbedKernel"/> reads.</summary>
/// <param name="Latents">f32 [images, Channels, Side, Side].</param>
/// <param name="ImageOfSample">s32 [Batch], checked on the host.</param>
/// <param name="Weight">f32 [Hidden, Channels·Patch·Patch].</param>
/// <param name="Bias">f32 [Hidden], or null.</param>
/// <param name="Positions">f32 [T, Hidden].</param>
/// <param name="Batch">B.</param>
/// <param name="Channels">C.</param>
/// <param name="Side">S, a multiple of the patch.</param>
/// <param name="Patch">p.</param>
/// <param name="Hidden">H, a multiple of 8.</param>
internal readonly record struct PatchEmbedInput(
    DevicePointer Latents,
    DevicePointer ImageOfSample,
    DevicePointer Weight,
    DevicePointer Bias,
    DevicePointer Positions,
    int Batch,
    int Channels,
    int Side,
    int Patch,
    int Hidden);

/// <summary>Cuts latents into patches, projects them and adds the positions.</summary>
/// <param name="library">The device's kernels.</param>
internal sealed class PatchEmbedKernel(KernelLibrary library)
{
    private const int Threads = 128;
    private const int Patches = 16;
    private const int Columns = 2 * Threads;
    private const int MaxDepth = 512;
    private readonly Dictionary<(int Hidden, int Channels, int Patch), GpuKernel> _kernels = [];

    /// <summary>Launches.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="input">What is read.</param>
    /// <param name="tokens">f16 [B·T, Hidden].</param>
    public void Launch(GpuStream stream, in PatchEmbedInput input, DevicePointer tokens)
    {
        var key = (input.Hidden, input.Channels, input.Patch);
        if (!_kernels.TryGetValue(key, out var kernel)) _kernels.Add(key, kernel = library.Get(Spec(input.Hidden, input.Channels, input.Patch)));
        var perSide = input.Side / input.Patch;
        var rows = input.Batch * perSide * perSide;
        var depth = input.Channels * input.Patch * input.Patch;
        var shape = new LaunchShape((rows + Patches - 1) / Patches, (input.Hidden + Columns - 1) / Columns, 1, Threads, Patches * ((depth + 3) / 4 * 16));
        stream.Launch(kernel, shape, new PatchEmbedArguments
        {
            Latents = input.Latents,
            ImageOfSample = input.ImageOfSample,
            Weight = input.Weight,
            Bias = input.Bias,
            Positions = input.Positions,
            Tokens = tokens,
            Batch = input.Batch,
            Side = input.Side,
        });
    }

    /// <summary>The specialisation for a hidden size and a patch.</summary>
    /// <exception cref="GpuUnavailableException">H is no multiple of 8, or the patch is too large for shared memory.</exception>
    public static KernelSpec Spec(int hidden, int channels, int patch)
    {
        TokenWidth.Check("patch embedding", hidden);
        if (channels * patch * patch > MaxDepth)
            throw new GpuUnavailableException($"patch embedding on the GPU asks for patches of at most {MaxDepth} values, not {channels}·{patch}·{patch}; use --backend cpu");
        return new KernelSpec("embed/patch_embed.cu", "patch_embed_kernel", ("HIDDEN", hidden), ("CHANNELS", channels), ("PATCH", patch));
    }
}

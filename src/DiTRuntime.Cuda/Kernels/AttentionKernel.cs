using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>What <see cref="AttentionKernel"/> reads.</summary>
/// <param name="Qkv">f16 [3, Batch, Heads, Tokens, HeadSize].</param>
/// <param name="Batch">B.</param>
/// <param name="Tokens">T.</param>
/// <param name="Heads">Heads of a token.</param>
/// <param name="HeadSize">D, a multiple of 8 up to 512.</param>
internal readonly record struct AttentionInput(DevicePointer Qkv, int Batch, int Tokens, int Heads, int HeadSize);

/// <summary>softmax(q kᵀ/√D) v, stored as halves or, where whole groups lie in few heads, quantized.</summary>
/// <param name="library">The device's kernels.</param>
internal sealed class AttentionKernel(KernelLibrary library)
{
    private const int MaxHeadSize = 128;
    private const int MaxWideHeadSize = 512;
    private const int WideQueries = 32;
    private const int WideWarps = 8;

    private readonly Dictionary<(int Heads, int HeadSize, int Tokens, int Group, bool IsQuantized, bool IsStatic), (GpuKernel Kernel, AttentionPlan Plan)> _kernels = [];
    private readonly Dictionary<int, GpuKernel> _wideKernels = [];

    /// <summary>Whether the kernel can quantize its output: whole groups within at most four heads or one group a row, and shared memory for them.</summary>
    /// <param name="heads">Heads of a token.</param>
    /// <param name="headSize">D.</param>
    /// <param name="format">The output's groups.</param>
    /// <param name="sharedMemoryPerBlock">What a block may ask for, in bytes.</param>
    public static bool CanQuantize(int heads, int headSize, ActivationFormat format, int sharedMemoryPerBlock) =>
        headSize <= MaxHeadSize && headSize % 8 == 0 && AttentionPlan.Make(heads, headSize, int.MaxValue - 64, format, sharedMemoryPerBlock) is not null;

    /// <summary>Stores halves.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="input">What is read.</param>
    /// <param name="output">f16 [Batch·Tokens, Heads·HeadSize].</param>
    public void Launch(GpuStream stream, in AttentionInput input, DevicePointer output)
    {
        if (input.HeadSize > MaxHeadSize) LaunchWide(stream, input, output);
        else Launch(stream, input, output, default, null);
    }

    /// <summary>Stores codes, scales and corrections: the same as quantizing the halves.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="input">What is read.</param>
    /// <param name="output">Of [Batch·Tokens, Heads·HeadSize].</param>
    /// <param name="format">Its groups; <see cref="CanQuantize"/> holds.</param>
    public void Launch(GpuStream stream, in AttentionInput input, in DeviceActivation output, ActivationFormat format) =>
        Launch(stream, input, default, output, format);

    /// <summary>The specialisation for heads wider than 128.</summary>
    /// <exception cref="GpuUnavailableException">No kernel takes heads like these.</exception>
    public static KernelSpec WideSpec(int headSize)
    {
        TokenWidth.Check("attention", headSize, MaxWideHeadSize);
        return new KernelSpec("attention/attention_wide.cu", "attention_wide_kernel", ("HEAD_SIZE", headSize));
    }

    private void Launch(GpuStream stream, in AttentionInput input, DevicePointer halves, in DeviceActivation quantized, ActivationFormat? format)
    {
        var key = (input.Heads, input.HeadSize, input.Tokens, format?.GroupSize ?? 0, format is not null, format?.StaticScales is not null);
        if (!_kernels.TryGetValue(key, out var entry))
        {
            TokenWidth.Check("attention", input.HeadSize, MaxHeadSize);
            var plan = AttentionPlan.Make(input.Heads, input.HeadSize, input.Tokens, format, library.Device.Properties.SharedMemoryPerBlock)
                ?? throw new GpuUnavailableException(
                    $"attention with {input.Heads} heads of {input.HeadSize} does not fit the {library.Device.Properties.SharedMemoryPerBlock} bytes of shared memory of a block here; use --backend cpu");
            _kernels.Add(key, entry = (library.Get(plan.Spec()), plan));
        }

        var shape = new LaunchShape(
            (input.Tokens + entry.Plan.QueryTile - 1) / entry.Plan.QueryTile,
            (input.Heads + entry.Plan.HeadsPerBlock - 1) / entry.Plan.HeadsPerBlock,
            input.Batch,
            entry.Plan.Threads,
            entry.Plan.SharedBytes);
        stream.Launch(entry.Kernel, shape, Arguments(input) with { Output = halves, Quantized = quantized });
    }

    private void LaunchWide(GpuStream stream, in AttentionInput input, DevicePointer output)
    {
        if (!_wideKernels.TryGetValue(input.HeadSize, out var kernel)) _wideKernels.Add(input.HeadSize, kernel = library.Get(WideSpec(input.HeadSize)));
        var shape = new LaunchShape((input.Tokens + WideQueries - 1) / WideQueries, input.Heads, input.Batch, 32 * WideWarps, WideSharedBytes(input.HeadSize));
        stream.Launch(kernel, shape, Arguments(input) with { Output = output });
    }

    private static AttentionArguments Arguments(in AttentionInput input) => new()
    {
        Qkv = input.Qkv,
        Batch = input.Batch,
        Heads = input.Heads,
        Tokens = input.Tokens,
        ScoreScale = (float)(1 / (Math.Log(2) * Math.Sqrt(input.HeadSize))),
    };

    /// <summary>Keys, values, probabilities and what warps exchange; mirrors kernels/attention/attention_wide.cu.</summary>
    private static int WideSharedBytes(int headSize) => 2 * WideQueries * ((((headSize + 15) / 16 * 2) | 1) * 16) + WideQueries * (2 * WideQueries + 16) + WideQueries * 16;
}

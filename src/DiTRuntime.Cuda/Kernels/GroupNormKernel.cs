using DiTRuntime.Backends;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Group norm and activation in two launches: <c>group_norm_sums_kernel</c>, then <c>group_norm_kernel</c>.</summary>
/// <param name="library">Where the kernels come from.</param>
internal sealed class GroupNormKernel(KernelLibrary library)
{
    private const int Threads = 512, MostSlabs = 128, MostChannels = 8 * Threads;
    private readonly Dictionary<Activation, GpuKernel> _kernels = [];
    private GpuKernel? _sums;

    /// <summary>Bytes of scratch that a launch needs.</summary>
    /// <param name="sampleCount">B.</param>
    /// <param name="pixelCount">Pixels of a sample.</param>
    /// <param name="channels">C.</param>
    /// <param name="groupCount">Groups.</param>
    public static long ScratchBytes(int sampleCount, int pixelCount, int channels, int groupCount) =>
        2L * sizeof(float) * sampleCount * SlabCount(pixelCount, channels) * groupCount;

    /// <summary>output = activation(GN(input)·gamma + beta).</summary>
    /// <exception cref="ArgumentException">Groups do not divide the channels, or there are more than 4096.</exception>
    public void Launch(GpuStream stream, in GroupNormLaunch launch)
    {
        if (launch.GroupCount <= 0 || launch.Channels % launch.GroupCount != 0 || launch.Channels > MostChannels)
            throw new ArgumentException($"{launch.Channels} channels in {launch.GroupCount} groups; the kernel takes groups that divide at most {MostChannels}", nameof(launch));
        _sums ??= library.Get(SumsSpec());
        if (!_kernels.TryGetValue(launch.Activation, out var kernel)) _kernels.Add(launch.Activation, kernel = library.Get(Spec(launch.Activation)));
        var arguments = new GroupNormArguments
        {
            Input = launch.Input,
            Gamma = launch.Gamma,
            Beta = launch.Beta,
            Partials = launch.Scratch,
            Output = launch.Output,
            PixelCount = launch.PixelCount,
            Channels = launch.Channels,
            GroupCount = launch.GroupCount,
            SlabPixels = SlabPixels(launch.PixelCount, launch.Channels),
            Epsilon = launch.Epsilon,
        };
        var slabs = SlabCount(launch.PixelCount, launch.Channels);
        // A pair of floats for each of eight channels and each thread, rows one pair apart; then one for each group.
        stream.Launch(_sums, new LaunchShape(slabs, launch.SampleCount, 1, Threads, 8 * (Threads + 1) * 2 * sizeof(float)), arguments);
        stream.Launch(kernel, new LaunchShape(slabs, launch.SampleCount, 1, Threads, launch.GroupCount * 2 * sizeof(float)), arguments);
    }

    /// <summary>The first kernel.</summary>
    public static KernelSpec SumsSpec() => new("conv/group_norm.cu", "group_norm_sums_kernel", ("ACTIVATION", 0));

    /// <summary>The second kernel.</summary>
    /// <param name="activation">Applied last.</param>
    public static KernelSpec Spec(Activation activation) => new("conv/group_norm.cu", "group_norm_kernel", ("ACTIVATION", (int)activation));

    private static int SlabCount(int pixelCount, int channels)
    {
        var pixels = SlabPixels(pixelCount, channels);
        return (pixelCount + pixels - 1) / pixels;
    }

    /// <summary>As many pixels as leave no thread idle, or more where that would be too many slabs. Never depends on the batch.</summary>
    private static int SlabPixels(int pixelCount, int channels) => Math.Max((pixelCount + MostSlabs - 1) / MostSlabs, Threads / ((channels + 7) / 8));
}

/// <summary>One launch of <see cref="GroupNormKernel"/>. Tensors are f16, channels last, channels padded to a multiple of 8.</summary>
/// <param name="Input">[B, P, C].</param>
/// <param name="Gamma">F32 [C].</param>
/// <param name="Beta">F32 [C].</param>
/// <param name="Scratch"><see cref="GroupNormKernel.ScratchBytes"/> bytes; free again once the launch is done.</param>
/// <param name="Output">[B, P, C]; may be the input.</param>
/// <param name="SampleCount">B.</param>
/// <param name="PixelCount">P.</param>
/// <param name="Channels">C.</param>
/// <param name="GroupCount">Divides C.</param>
/// <param name="Epsilon">Added to the variance.</param>
/// <param name="Activation">Applied last.</param>
internal readonly record struct GroupNormLaunch(
    DevicePointer Input,
    DevicePointer Gamma,
    DevicePointer Beta,
    DevicePointer Scratch,
    DevicePointer Output,
    int SampleCount,
    int PixelCount,
    int Channels,
    int GroupCount,
    float Epsilon,
    Activation Activation);

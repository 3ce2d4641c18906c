using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using DiTRuntime.Backends.Cpu.LowBit;
using DiTRuntime.Backends.Cpu.Simd;
using DiTRuntime.Backends.Training;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Backends.Cpu;

/// <summary>Settings of the CPU backend.</summary>
/// <param name="ThreadCount">Threads, or 0 for one per processor.</param>
/// <param name="VectorBits">512, 256 or 128, or 0 for the widest the machine has.</param>
/// <param name="IntegerPath">Instructions of the integer products.</param>
public sealed record CpuOptions(int ThreadCount = 0, int VectorBits = 0, IntegerPath IntegerPath = IntegerPath.Auto);

/// <summary>fp32 on the processor: several threads, vectors of the width found at run time.</summary>
public abstract partial class CpuBackend : IClusteringBackend
{
    /// <summary>What people call it.</summary>
    public const string BackendName = "cpu";

    private protected CpuBackend(int threadCount, IntegerPath integerPath)
    {
        Pool = new WorkerPool(threadCount);
        IntegerPath = integerPath;
    }

    /// <inheritdoc/>
    public string Name => BackendName;

    /// <inheritdoc/>
    public abstract string Description { get; }

    /// <inheritdoc/>
    public CancellationToken Cancellation
    {
        get => Pool.Cancellation;
        set => Pool.Cancellation = value;
    }

    /// <summary>Threads in use.</summary>
    public int ThreadCount => Pool.ThreadCount;

    /// <summary>Instructions of the integer products; never <see cref="IntegerPath.Auto"/>.</summary>
    public IntegerPath IntegerPath { get; }

    private protected WorkerPool Pool { get; }

    /// <summary>Makes the backend for this machine.</summary>
    /// <exception cref="UsageException">The options ask for what cannot be.</exception>
    public static CpuBackend Create(CpuOptions options)
    {
        if (options.ThreadCount is < 0 or > 1024)
            throw new UsageException($"{options.ThreadCount} threads asked for; between 1 and 1024 can be used, 0 means one per processor");
        var threads = options.ThreadCount == 0 ? Environment.ProcessorCount : options.ThreadCount;
        var bits = options.VectorBits != 0 ? options.VectorBits
            : Vector512.IsHardwareAccelerated ? 512
            : Vector256.IsHardwareAccelerated ? 256
            : 128;
        var path = ResolvePath(options.IntegerPath);
        return bits switch
        {
            512 => new CpuBackend<Simd512, Vector512<float>>(threads, path),
            256 => new CpuBackend<Simd256, Vector256<float>>(threads, path),
            128 => new CpuBackend<Simd128, Vector128<float>>(threads, path),
            _ => throw new UsageException($"vectors of {bits} bits asked for; 512, 256 and 128 exist"),
        };
    }

    /// <inheritdoc/>
    public Tensor Allocate(ElementType type, params ReadOnlySpan<int> shape)
    {
        TensorCheck.Allocate(type, shape);
        return new CpuTensor(this, type, shape);
    }

    /// <inheritdoc/>
    public Tensor AllocateActivations(ActivationFormat? format, params ReadOnlySpan<int> shape)
    {
        TensorCheck.Allocate(ElementType.F32, shape);
        return format is null ? new CpuTensor(this, ElementType.F32, shape) : new CpuActivations(this, format, shape);
    }

    /// <inheritdoc/>
    public void Upload<T>(ReadOnlySpan<T> source, Tensor destination)
        where T : unmanaged
    {
        TensorCheck.Transfer<T>(this, destination, source.Length);
        MemoryMarshal.AsBytes(source).CopyTo(((CpuTensor)destination).Bytes);
    }

    /// <inheritdoc/>
    public void Download<T>(Tensor source, Span<T> destination)
        where T : unmanaged
    {
        TensorCheck.Transfer<T>(this, source, destination.Length);
        var bytes = MemoryMarshal.AsBytes(destination);
        ((CpuTensor)source).Bytes[..bytes.Length].CopyTo(bytes);
    }

    /// <inheritdoc/>
    public abstract PreparedLinear Prepare(LinearWeight weight, LinearUse use = LinearUse.Linear);

    /// <inheritdoc/>
    public abstract PreparedConvolution Prepare(ConvolutionWeight weight);

    /// <inheritdoc/>
    public void TimestepFeatures(Tensor timesteps, Tensor frequencies, Tensor features)
    {
        TensorCheck.TimestepFeatures(this, timesteps, frequencies, features);
        HostTimestepFeatures.Write(
            MemoryMarshal.Cast<byte, int>(((CpuTensor)timesteps).Bytes)[..timesteps.Count],
            MemoryMarshal.Cast<byte, float>(((CpuTensor)frequencies).Bytes)[..frequencies.Count],
            MemoryMarshal.Cast<byte, float>(((CpuTensor)features).Bytes));
    }

    /// <inheritdoc/>
    public abstract void Condition(Tensor timestepEmbedding, Tensor labelTable, Tensor labels, Tensor condition);

    /// <inheritdoc/>
    public abstract void PatchEmbed(Tensor latents, Tensor imageOfSample, PreparedLinear projection, Tensor positions, Tensor tokens);

    /// <inheritdoc/>
    public abstract void NormModulate(Tensor tokens, in Modulation modulation, int shiftChunk, float epsilon, Tensor output);

    /// <inheritdoc/>
    public abstract void Linear(Tensor input, PreparedLinear layer, in Epilogue epilogue, Tensor output);

    /// <inheritdoc/>
    public abstract void Attention(Tensor qkv, int headCount, Tensor output);

    /// <inheritdoc/>
    public abstract void Unpatchify(Tensor patches, Tensor output);

    /// <inheritdoc/>
    public UpdateTable Prepare(ReadOnlySpan<SampleUpdate> updates, int imageCount) => new HostUpdateTable(updates, imageCount, Allocate(ElementType.I32, 1));

    /// <inheritdoc/>
    public void Replace(UpdateTable table, ReadOnlySpan<SampleUpdate> updates)
    {
        TensorCheck.StepCounter(this, table);
        table.Replace(updates);
        ((CpuTensor)table.Step).Bytes.Clear();
    }

    /// <inheritdoc/>
    public void UploadNoise(ReadOnlySpan<float> values, Tensor noise, int stepIndex)
    {
        TensorCheck.UploadNoise(this, values, noise, stepIndex);
        var bytes = MemoryMarshal.AsBytes(values);
        bytes.CopyTo(((CpuTensor)noise).Bytes[(stepIndex % 2 * bytes.Length)..]);
    }

    /// <inheritdoc/>
    public abstract void GuideAndUpdate(Tensor prediction, UpdateTable updates, Tensor? noise, Tensor latents);

    /// <inheritdoc/>
    public abstract void Convolution(Tensor input, PreparedConvolution layer, in ConvolutionOptions options, Tensor output);

    /// <inheritdoc/>
    public abstract void GroupNorm(Tensor input, Tensor gamma, Tensor beta, in GroupNormOptions options, Tensor output);

    /// <inheritdoc/>
    public abstract void AssignNearest(Tensor points, Tensor? weights, Tensor codewords, Tensor codes, Tensor distances);

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Whether this machine has the instructions of a path. The 512-bit one uses AVX-VNNI beside AVX-512.</summary>
    internal static bool IsAvailable(IntegerPath path) => path switch
    {
        IntegerPath.Avx512 => AvxVnni.IsSupported && Avx512BW.IsSupported,
        IntegerPath.AvxVnni => AvxVnni.IsSupported,
        IntegerPath.Avx2 => Avx2.IsSupported,
        _ => true,
    };

    private static IntegerPath ResolvePath(IntegerPath wanted)
    {
        if (!IsAvailable(wanted)) throw new UsageException($"integer products by {wanted} asked for, which this machine does not have");
        if (wanted != IntegerPath.Auto) return wanted;
        return IsAvailable(IntegerPath.Avx512) ? IntegerPath.Avx512
            : IsAvailable(IntegerPath.AvxVnni) ? IntegerPath.AvxVnni
            : IsAvailable(IntegerPath.Avx2) ? IntegerPath.Avx2
            : IntegerPath.Portable;
    }

    /// <summary>Ends the threads.</summary>
    protected virtual void Dispose(bool disposing)
    {
        if (disposing) Pool.Dispose();
    }
}

/// <summary>The CPU backend at one vector width; one operation per file.</summary>
/// <typeparam name="TSimd">Vector operations.</typeparam>
/// <typeparam name="TVec">Vector type.</typeparam>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>(int threadCount, IntegerPath integerPath) : CpuBackend(threadCount, integerPath)
    where TSimd : struct, ISimd<TVec>
    where TVec : struct
{
    private static int PanelWidth => PanelProduct<TSimd, TVec>.PanelWidth;

    private static int TileRows => PanelProduct<TSimd, TVec>.TileRows;

    /// <inheritdoc/>
    public override string Description => $"cpu: {ThreadCount} thread{(ThreadCount == 1 ? "" : "s")}, {TSimd.Lanes * 32}-bit vectors, integers by {IntegerPath}";

    private static float* Floats(Tensor tensor) => ((CpuTensor)tensor).Floats;

    private static int* Integers(Tensor tensor) => ((CpuTensor)tensor).Integers;

    /// <summary>The table row of each sample at the current step, [B].</summary>
    private static int* Rows(in Modulation modulation) =>
        Integers(modulation.RowOfSample) + (modulation.Step is null ? 0 : (long)*Integers(modulation.Step) * modulation.RowOfSample.RowLength);

    /// <summary>
    /// Keeps what an operation holds pointers into from being collected before it ends: a caller may drop its last reference
    /// with the call.
    /// </summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void KeepAlive(object? a, object? b, object? c = null, object? d = null, object? e = null)
    {
        GC.KeepAlive(a);
        GC.KeepAlive(b);
        GC.KeepAlive(c);
        GC.KeepAlive(d);
        GC.KeepAlive(e);
    }

    /// <summary>A buffer that an operation keeps from call to call: at least so large, and replaced only to grow.</summary>
    private static NativeBuffer Grow(ref NativeBuffer? buffer, long byteCount)
    {
        if (buffer is not null && buffer.ByteCount >= byteCount) return buffer;
        buffer?.Dispose();
        return buffer = new NativeBuffer(byteCount);
    }

    private static int DivideUp(int value, int divisor) => (value + divisor - 1) / divisor;
}

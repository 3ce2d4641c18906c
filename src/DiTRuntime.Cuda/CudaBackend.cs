using System.Globalization;
using System.Runtime.InteropServices;
using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda;

/// <summary>
/// The operations as kernels on a device: activations in fp16 with fp32 sums, norms, softmax and modulation in fp32, latents in fp32. A GPU, or the
/// emulated device, which runs the same kernels.
/// </summary>
/// <remarks>
/// Operations are queued in one stream and return at once; <see cref="Download"/> waits. Kernels are compiled when a shape is first seen. Used by one
/// thread at a time.
/// </remarks>
public sealed partial class CudaBackend : IDiTBackend
{
    private readonly ResourceList _owned = new();
    private readonly IDisposable? _below;
    private readonly MeteredDevice _device;
    private readonly LinearPacker _packer;
    private readonly CudaTensor _firstStep;

    /// <param name="device">Where it runs; stays the caller's and outlives the backend.</param>
    /// <param name="compiler">Makes kernels for that device.</param>
    /// <param name="options">Settings.</param>
    public CudaBackend(IGpuDevice device, IKernelCompiler compiler, CudaOptions? options = null)
        : this(device, compiler, options, below: null)
    {
    }

    /// <param name="device">Where it runs.</param>
    /// <param name="compiler">Makes kernels for that device.</param>
    /// <param name="options">Settings.</param>
    /// <param name="below">What is given back after the backend: device, compiler.</param>
    internal CudaBackend(IGpuDevice device, IKernelCompiler compiler, CudaOptions? options, IDisposable? below)
    {
        Options = options ?? new CudaOptions();
        Compiler = compiler;
        _device = new MeteredDevice(device, Options.MemoryLimitBytes);
        try
        {
            // Given back in reverse: first what is in use, last the stream it was used in.
            Stream = _owned.Add(_device.CreateStream());
            CopyStream = _owned.Add(_device.CreateStream());
            Library = _owned.Add(new KernelLibrary(_device, compiler));
            Staging = _owned.Add(new Staging(_device, Stream));
            _packer = _owned.Add(new LinearPacker(_device));
            for (var i = 0; i < RunsInFlight; i++) _runDone[i] = _owned.Add(_device.CreateEvent());
            for (var i = 0; i < _noiseCopied.Length; i++) _noiseCopied[i] = _owned.Add(_device.CreateEvent());
            _kernels = new KernelSet(Library);
            _firstStep = _owned.Add(new CudaTensor(this, ElementType.I32, isHalf: false, [1]));
        }
        catch
        {
            _owned.Dispose();
            throw;
        }

        _below = below;
    }

    /// <inheritdoc/>
    public string Name => _device.Properties.IsEmulated ? "emulated" : "cuda";

    /// <inheritdoc/>
    public string Description => string.Create(
        CultureInfo.InvariantCulture, $"{Name}: {_device.Properties.Name}, sm_{_device.Properties.Architecture}, {_device.Properties.MultiprocessorCount} multiprocessors, kernels by {Compiler.Name}");

    /// <inheritdoc/>
    public CancellationToken Cancellation { get; set; }

    /// <summary>Settings.</summary>
    public CudaOptions Options { get; }

    /// <summary>Makes the kernels.</summary>
    public IKernelCompiler Compiler { get; }

    /// <summary>The kernels in use.</summary>
    public KernelLibrary Library { get; }

    /// <summary>What the device is.</summary>
    public GpuProperties Properties => _device.Properties;

    /// <summary>Device memory held now, in bytes.</summary>
    public long UsedBytes => _device.UsedBytes;

    /// <summary>The most device memory that was held at once, in bytes.</summary>
    public long PeakBytes => _device.PeakBytes;

    /// <summary>Where the operations are queued.</summary>
    internal GpuStream Stream { get; }

    /// <summary>Where noise is copied beside them.</summary>
    internal GpuStream CopyStream { get; }

    /// <summary>Copies that wait.</summary>
    internal Staging Staging { get; }

    /// <inheritdoc/>
    public Tensor Allocate(ElementType type, params ReadOnlySpan<int> shape)
    {
        TensorCheck.Allocate(type, shape);
        return new CudaTensor(this, type, isHalf: false, shape);
    }

    /// <inheritdoc/>
    public Tensor AllocateActivations(ActivationFormat? format, params ReadOnlySpan<int> shape)
    {
        TensorCheck.Allocate(ElementType.F32, shape);
        return format is null ? new CudaTensor(this, ElementType.F32, isHalf: true, shape) : new CudaTensor(this, format, shape);
    }

    /// <inheritdoc/>
    public void Upload<T>(ReadOnlySpan<T> source, Tensor destination)
        where T : unmanaged
    {
        TensorCheck.Transfer<T>(this, destination, source.Length);
        var tensor = (CudaTensor)destination;
        if (tensor.IsHalf) Staging.UploadHalves(MemoryMarshal.Cast<T, float>(source), tensor.Pointer, tensor.RowLength, tensor.RowStride);
        else Staging.Upload(source, tensor.Pointer);
    }

    /// <inheritdoc/>
    public void Download<T>(Tensor source, Span<T> destination)
        where T : unmanaged
    {
        TensorCheck.Transfer<T>(this, source, destination.Length);
        Cancellation.ThrowIfCancellationRequested();
        var tensor = (CudaTensor)source;
        if (tensor.IsHalf) Staging.DownloadHalves(tensor.Pointer, MemoryMarshal.Cast<T, float>(destination), tensor.RowLength, tensor.RowStride);
        else Staging.Download(tensor.Pointer, destination);
    }

    /// <inheritdoc/>
    public PreparedLinear Prepare(LinearWeight weight, LinearUse use = LinearUse.Linear)
    {
        Cancellation.ThrowIfCancellationRequested();
        if (use == LinearUse.PatchEmbed) return PreparePatchEmbedding(weight);
        var product = _packer.Pack(weight);
        return use == LinearUse.FinishStep && weight.Activations is null ? PrepareFinalLayer(weight, product) : product;
    }

    /// <inheritdoc/>
    public PreparedConvolution Prepare(ConvolutionWeight weight)
    {
        var packed = ConvolutionPacker.Pack(weight);
        var storage = _device.Allocate(packed.Bytes.Length);
        Staging.Upload<byte>(packed.Bytes, storage.Pointer);
        return new CudaConvolution(packed, storage);
    }

    /// <inheritdoc/>
    public UpdateTable Prepare(ReadOnlySpan<SampleUpdate> updates, int imageCount)
    {
        using var owned = new ResourceList();
        var table = owned.Add(_device.Allocate((long)updates.Length * Marshal.SizeOf<DeviceSampleUpdate>()));
        var ticket = owned.Add(AllocateZeroed(sizeof(uint)));
        var step = owned.Add(Allocate(ElementType.I32, 1));
        var result = new CudaUpdateTable(updates, imageCount, step, table, ticket);
        result.Upload(Staging);
        owned.Release();
        return result;
    }

    /// <inheritdoc/>
    public void Replace(UpdateTable table, ReadOnlySpan<SampleUpdate> updates)
    {
        TensorCheck.StepCounter(this, table);
        table.Replace(updates);
        Stream.Fill(((CudaTensor)table.Step).Pointer, 0, sizeof(int));
        // A copy through the staging buffer ends when all before it in the stream has.
        TensorCheck.Prepared<CudaUpdateTable>(table).Upload(Staging);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        // Work in flight may still read what is given back.
        try
        {
            Stream.Synchronize();
            CopyStream.Synchronize();
        }
        catch (Exception e) when (e is GpuException or ObjectDisposedException)
        {
            // A device that has failed or gone has no work in flight, and the failure was reported where it arose.
        }

        _scratch?.Dispose();
        _scratch = null;
        _owned.Dispose();
        _below?.Dispose();
    }

    /// <summary>Device memory of zeros.</summary>
    internal GpuBuffer AllocateZeroed(long byteCount)
    {
        var buffer = _device.Allocate(byteCount);
        Stream.Fill(buffer.Pointer, 0, byteCount);
        return buffer;
    }

    private CudaPatchEmbedding PreparePatchEmbedding(LinearWeight weight)
    {
        var values = new float[weight.Outputs * (weight.Inputs + 1)];
        weight.CopyRows(0, weight.Outputs, values.AsSpan(0, weight.Outputs * weight.Inputs));
        weight.Bias?.CopyTo(values, weight.Outputs * weight.Inputs);
        var storage = _device.Allocate((long)values.Length * sizeof(float));
        Staging.Upload<float>(values, storage.Pointer);
        return new CudaPatchEmbedding(weight, storage);
    }

    private CudaFinalLayer PrepareFinalLayer(LinearWeight weight, CudaLinear product)
    {
        using var owned = new ResourceList();
        owned.Add(product);
        var rows = new float[weight.Outputs * weight.Inputs];
        weight.CopyRows(0, weight.Outputs, rows);
        var matrix = owned.Add(_device.Allocate((long)rows.Length * sizeof(ushort)));
        var bias = owned.Add(_device.Allocate((long)weight.Outputs * sizeof(float)));
        Staging.UploadHalves(rows, matrix.Pointer, weight.Inputs, weight.Inputs);
        Staging.Upload<float>(weight.Bias ?? new float[weight.Outputs], bias.Pointer);
        owned.Release();
        return new CudaFinalLayer(product, matrix, bias);
    }
}

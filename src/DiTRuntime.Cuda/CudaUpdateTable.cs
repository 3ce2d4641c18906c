using DiTRuntime.Backends;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;

namespace DiTRuntime.Cuda;

/// <summary>The updates of all steps in device memory, with the step counter and the ticket by which the last block moves it on.</summary>
internal sealed class CudaUpdateTable : UpdateTable
{
    private readonly DeviceSampleUpdate[] _entries;
    private readonly GpuBuffer _updates;
    private readonly GpuBuffer _ticket;

    /// <param name="updates">[steps, images].</param>
    /// <param name="imageCount">Images updated in each step.</param>
    /// <param name="step">I32 [1], 0.</param>
    /// <param name="table">Takes the entries; owned from now on.</param>
    /// <param name="ticket">u32 [1], 0; owned from now on.</param>
    public CudaUpdateTable(ReadOnlySpan<SampleUpdate> updates, int imageCount, Tensor step, GpuBuffer table, GpuBuffer ticket)
        : base(updates, imageCount, step)
    {
        _entries = new DeviceSampleUpdate[updates.Length];
        _updates = table;
        _ticket = ticket;
    }

    /// <summary>Everything a kernel of the sampler needs to take a step.</summary>
    /// <param name="noise">F32 [2, images, C, S, S], or null.</param>
    /// <param name="latents">F32 [images, C, S, S].</param>
    public DeviceSampler Sampler(CudaTensor? noise, CudaTensor latents) => new()
    {
        Updates = _updates.Pointer,
        Noise = noise?.Pointer ?? DevicePointer.Null,
        Latents = latents.Pointer,
        Step = ((CudaTensor)Step).Pointer,
        Ticket = _ticket.Pointer,
        UpdateCount = ImageCount,
        ImageCount = latents.Shape[0],
    };

    /// <summary>Copies the updates to the device.</summary>
    public void Upload(Staging staging)
    {
        for (var i = 0; i < _entries.Length; i++) _entries[i] = new DeviceSampleUpdate(Updates[i]);
        staging.Upload<DeviceSampleUpdate>(_entries, _updates.Pointer);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        base.Dispose(disposing);
        if (!disposing) return;
        _updates.Dispose();
        _ticket.Dispose();
    }
}

namespace DiTRuntime.Backends.Cpu;

/// <summary>Updates that the host reads where they are.</summary>
internal sealed class HostUpdateTable(ReadOnlySpan<SampleUpdate> updates, int imageCount, Tensor step) : UpdateTable(updates, imageCount, step);

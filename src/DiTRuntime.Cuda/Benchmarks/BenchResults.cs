namespace DiTRuntime.Cuda.Benchmarks;

/// <summary>An operation on the device against the CPU backend.</summary>
/// <param name="Operation">What ran.</param>
/// <param name="Format">Of its weights.</param>
/// <param name="Shape">In words.</param>
/// <param name="Error">The largest of the rows' relative errors ‖out − ref‖/‖ref‖; infinite where a value is not finite.</param>
/// <param name="Tolerance">The most it may be.</param>
/// <param name="Reason">Why that much.</param>
public sealed record CheckResult(string Operation, string Format, string Shape, double Error, double Tolerance, string Reason)
{
    /// <summary>Whether it is within the tolerance.</summary>
    public bool Passed => Error <= Tolerance;
}

/// <summary>What the device reaches in the same run.</summary>
/// <param name="BytesPerSecond">Copying within the device, bytes read plus bytes written.</param>
/// <param name="CopiedBytes">Bytes of that copy.</param>
/// <param name="OperationsPerSecond">A square fp16 product of the vendor's library, or null where there is none.</param>
/// <param name="Side">M = N = K of that product.</param>
/// <param name="Library">The library, or why there is none.</param>
public sealed record Roof(double BytesPerSecond, long CopiedBytes, double? OperationsPerSecond, int Side, string Library);

/// <summary>One kernel, timed.</summary>
/// <param name="Kernel">What ran.</param>
/// <param name="Format">Of its weights or its output.</param>
/// <param name="Shape">N×K, or what stands for it.</param>
/// <param name="Rows">M.</param>
/// <param name="Milliseconds">Of one launch.</param>
/// <param name="Operations">Two for each multiply-add; 0 for kernels that are bound by bytes.</param>
/// <param name="Bytes">Inputs read once and outputs written once; what a kernel bound by bytes is measured by.</param>
/// <param name="Copies">Sets of buffers that the launches took in turn.</param>
/// <param name="VendorMilliseconds">The vendor's fp16 product of the same M, N and K, or null.</param>
public sealed record KernelTime(
    string Kernel, string Format, string Shape, int Rows, TimeSpread Milliseconds, double Operations, double Bytes, int Copies, TimeSpread? VendorMilliseconds)
{
    /// <summary>Whether operations bound it, not bytes.</summary>
    public bool IsBoundByOperations => Operations > 0;

    /// <summary>Operations or bytes in a second.</summary>
    public double Rate => (IsBoundByOperations ? Operations : Bytes) / (Milliseconds.Median * 1e-3);

    /// <summary>Share of the roof, or null where that was not measured.</summary>
    public double? ShareOf(Roof roof) => Rate / (IsBoundByOperations ? roof.OperationsPerSecond : roof.BytesPerSecond);

    /// <summary>How many times as fast as the vendor's product, or null.</summary>
    public double? Speedup => VendorMilliseconds?.Median / Milliseconds.Median;
}

/// <summary>Whole guided sampling steps, timed; or why they were not.</summary>
/// <param name="Format">Of the weights.</param>
/// <param name="ImageSize">Pixels of a side, eight for each latent position.</param>
/// <param name="Batch">Images; each is two samples.</param>
/// <param name="UsesGraph">Whether the step was replayed as a graph.</param>
public sealed record StepTime(string Format, int ImageSize, int Batch, bool UsesGraph)
{
    /// <summary>Steps of an image, where images in a second are told.</summary>
    public const int StepsPerImage = 50;

    /// <summary>Of one step.</summary>
    public TimeSpread Milliseconds { get; init; }

    /// <summary>The modulation table of a whole run of <see cref="StepsPerImage"/> steps, made once before the first.</summary>
    public TimeSpread TableMilliseconds { get; init; }

    /// <summary>Device memory taken since before the model was loaded, by the driver's count.</summary>
    public long DriverBytes { get; init; }

    /// <summary>The most that was held at once, by the runtime's count.</summary>
    public long OwnBytes { get; init; }

    /// <summary>Why it was not measured, or null.</summary>
    public string? Skipped { get; init; }

    /// <summary>Images a second at <see cref="StepsPerImage"/> steps, the table's time included, decoding not.</summary>
    public double ImagesPerSecond => 1000 * Batch / (StepsPerImage * Milliseconds.Median + TableMilliseconds.Median);
}

/// <summary>All that was measured.</summary>
public sealed record BenchResults
{
    /// <summary>Null where checks were not asked for.</summary>
    public IReadOnlyList<CheckResult>? Checks { get; init; }

    /// <summary>Null where no kernel was timed.</summary>
    public Roof? Roof { get; init; }

    /// <summary>Null where kernels were not asked for, or a check failed.</summary>
    public IReadOnlyList<KernelTime>? Kernels { get; init; }

    /// <summary>Null where steps were not asked for, or a check failed.</summary>
    public IReadOnlyList<StepTime>? Steps { get; init; }

    /// <summary>The checks that failed.</summary>
    public IReadOnlyList<CheckResult> Failures => [.. (Checks ?? []).Where(check => !check.Passed)];
}

using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda.Benchmarks;

/// <summary>What is measured, and on which shapes.</summary>
public sealed record BenchSettings
{
    /// <summary>Whether every kernel is compared with the CPU first; a speed table is made without it only when it was asked for alone.</summary>
    public bool Checks { get; init; } = true;

    /// <summary>Whether kernels are timed one by one.</summary>
    public bool Kernels { get; init; } = true;

    /// <summary>Whether whole sampling steps are timed.</summary>
    public bool Steps { get; init; } = true;

    /// <summary>Tiny shapes and few rounds: shows that everything runs, not how fast.</summary>
    public bool IsQuick { get; init; }

    /// <summary>The architecture, at 256×256 pixels.</summary>
    public required DiTConfig Config { get; init; }

    /// <summary>Only checks, kernels and steps whose line contains this; null for all.</summary>
    public string? Filter { get; init; }

    /// <summary>Factor of the checks' tolerances.</summary>
    public double ToleranceScale { get; init; } = 1;

    /// <summary>Times taken of each thing.</summary>
    public int Rounds { get; init; } = 20;

    /// <summary>M: rows of the products and of the kernels between them.</summary>
    public IReadOnlyList<int> RowCounts { get; init; } = [512, 2048, 8192, 32768];

    /// <summary>Side of the latent, and batches of guided images at that size.</summary>
    public IReadOnlyList<(int InputSize, int[] Batches)> Images { get; init; } = [(32, [1, 8, 32, 64]), (64, [1, 8])];

    /// <summary>Group sizes of W8A8; the first is that of the other formats too.</summary>
    public IReadOnlyList<int> Groups { get; init; } = [128, 96, 144, 288];

    /// <summary>Codebook formats: 2 bits, with floating-point and with quantized activations, 3 bits and 1 bit, and a codebook for every position.</summary>
    internal IReadOnlyList<LayerFormat> Codebooks =>
    [
        new(new CodebookFormat(256, 4)), new(new CodebookFormat(256, 4), ActivationMode.Dynamic, Groups[0]), new(new CodebookFormat(64, 2)), new(new CodebookFormat(256, 8)),
        new(new CodebookFormat(256, 8) { IsProduct = true }),
    ];

    /// <summary>The side of a square product of halves, the roof of the operations.</summary>
    public int RoofSide { get; init; } = 8192;

    /// <summary>Bytes copied for the roof of the memory; the device's free memory may make it fewer.</summary>
    public long RoofBytes { get; init; } = 1L << 30;

    /// <summary>Shapes of seconds even on the emulated device.</summary>
    public static BenchSettings Quick { get; } = new()
    {
        IsQuick = true,
        Config = new DiTConfig
        {
            InputSize = 8,
            PatchSize = 2,
            InChannels = 4,
            OutChannels = 8,
            HiddenSize = 144,
            Depth = 2,
            HeadCount = 2,
            MlpSize = 576,
            ClassCount = 10,
        },
        Rounds = 3,
        RowCounts = [32],
        Images = [(8, [1])],
        Groups = [48],
        RoofSide = 64,
        RoofBytes = 1 << 20,
    };

    /// <summary>Whether a line is among those asked for.</summary>
    internal bool Takes(string line) => Filter is null || line.Contains(Filter, StringComparison.OrdinalIgnoreCase);
}

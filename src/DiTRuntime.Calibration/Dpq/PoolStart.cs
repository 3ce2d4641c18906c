using DiTRuntime.Backends.Cpu;
using DiTRuntime.Backends.Training;
using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Dpq;

/// <summary>Makes the pools of the layers that the plan gives one; embedders and final layer included.</summary>
internal static unsafe class PoolStart
{
    /// <summary>Rounds of Lloyd's steps: later ones win less than a hundredth.</summary>
    private const int Iterations = 8;

    /// <summary>Pools every layer that has not been.</summary>
    public static void Save(CodebookTask task, DiTWeights weights)
    {
        var pooled = weights.Layers.Where(layer => task.Plan.FormatOf(layer.Name).Weights is CodebookFormat { PoolSize: > 0 }).ToArray();
        // Where the backend cannot search, the processor does.
        using var other = task.Backend is IClusteringBackend ? null : CpuBackend.Create(new CpuOptions());
        var clustering = other ?? (IClusteringBackend)task.Backend;
        for (var i = 0; i < pooled.Length; i++)
        {
            task.Cancellation.ThrowIfCancellationRequested();
            if (task.Folder.TryLoadTrained(pooled[i].Name) is null) task.Folder.SaveTrained(new PackedLayer(Pool(task, pooled[i], clustering)));
            task.Progress?.Report(new Quantizing.QuantizeProgress("pooling", "layers", i + 1, pooled.Length));
        }
    }

    private static CodebookWeight Pool(CodebookTask task, LinearWeight weight, IClusteringBackend clustering)
    {
        var format = (CodebookFormat)task.Plan.FormatOf(weight.Name).Weights!;
        using var buffer = new NativeBuffer((long)weight.Outputs * weight.Inputs * sizeof(float));
        weight.CopyRows(0, weight.Outputs, new Span<float>(buffer.Floats, weight.Outputs * weight.Inputs));
        float[] moments = [.. Enumerable.Repeat(1f, weight.Inputs)];
        var fit = new PoolFit(task.Workers, new NearestSearch(clustering, format.VectorLength), new Matrix(buffer.Floats, weight.Outputs, weight.Inputs, weight.Inputs), moments);
        return fit.Pool(CodebookLayer.From(task.Start(weight.Name)), format, Iterations).ToWeight();
    }
}

using System.Globalization;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Models;
using DiTRuntime.Quantization;
using DiTRuntime.Sampling;

namespace DiTRuntime.Cuda.Benchmarks;

/// <summary>Times whole guided sampling steps of a model of synthetic weights, as a run of <c>dit generate</c> takes them.</summary>
/// <param name="device">Where it runs.</param>
/// <param name="compiler">Makes kernels for it.</param>
/// <param name="settings">Shapes.</param>
internal sealed class StepTimes(IGpuDevice device, IKernelCompiler compiler, BenchSettings settings)
{
    private const int Label = 1;

    private readonly SyntheticLayers _layers = new();

    /// <summary>Every size, format and batch, with and without a graph.</summary>
    /// <param name="cancellation">Ends the work.</param>
    /// <param name="directly">Whether steps without a graph are timed too.</param>
    public IEnumerable<StepTime> Measure(CancellationToken cancellation, bool directly = true)
    {
        var group = settings.Groups[0];
        LayerFormat[] formats =
        [
            LayerFormat.Dense, new(new GroupFormat(8, group), ActivationMode.Dynamic), new(new GroupFormat(4, group), ActivationMode.Dynamic), .. settings.Codebooks.Take(2),
        ];
        foreach (var (inputSize, batches) in settings.Images)
        {
            foreach (var format in formats)
            {
                foreach (var usesGraph in directly ? (bool[])[true, false] : [true])
                {
                    var name = format.Weights is null ? "f16" : format.ToString();
                    StepTime[] wanted = [.. batches.Order().Select(batch => new StepTime(name, 8 * inputSize, batch, usesGraph)).Where(step => settings.Takes(Line(step)))];
                    if (wanted.Length == 0) continue;
                    foreach (var step in Model(wanted, settings.Config with { InputSize = inputSize }, format, cancellation)) yield return step;
                }
            }
        }
    }

    /// <summary>How a step is called where lines are chosen.</summary>
    public static string Line(StepTime step) =>
        string.Create(CultureInfo.InvariantCulture, $"step {step.Format} {step.ImageSize}x{step.ImageSize} batch {step.Batch} {(step.UsesGraph ? "graph" : "no graph")}");

    private IEnumerable<StepTime> Model(StepTime[] wanted, DiTConfig config, LayerFormat format, CancellationToken cancellation)
    {
        var free = device.Memory.FreeBytes;
        using var backend = new CudaBackend(device, compiler, new CudaOptions(UsesGraphs: wanted[0].UsesGraph)) { Cancellation = cancellation };
        DiTModel? model = null;
        string? problem = null;
        try
        {
            model = new DiTModel(_layers.Model(config, format), backend, Compatibility.Official);
        }
        catch (GpuOutOfMemoryException e)
        {
            problem = e.Message;
        }

        using (model)
        {
            foreach (var step in wanted)
            {
                StepTime measured;
                try
                {
                    measured = model is null ? step with { Skipped = problem } : Batch(step, model, backend, free);
                }
                catch (GpuOutOfMemoryException e)
                {
                    measured = step with { Skipped = e.Message };
                }

                yield return measured;
            }
        }
    }

    private StepTime Batch(StepTime step, DiTModel model, CudaBackend backend, long freeBefore)
    {
        var config = model.Config;
        var timer = new StreamTimer(device, backend.Stream);
        var schedule = TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(), StepTime.StepsPerImage);
        var plan = SamplingPlan.Create("ddim", schedule, 0, config.LearnsVariance);
        var labels = new int[step.Batch];
        Array.Fill(labels, Label);
        using var batch = new SamplingBatch(model, new SamplingSettings(plan, new ImageNoise(0), 4, 3), [.. Enumerable.Range(0, step.Batch)], labels);
        var times = timer.Rounds(batch.Step, settings.Rounds);
        var (driverBytes, ownBytes) = (freeBefore - device.Memory.FreeBytes, backend.PeakBytes);

        using var table = new ModulationTable(backend, config, 2 * StepTime.StepsPerImage);
        var timesteps = new int[table.RowCount];
        var conditions = new int[table.RowCount];
        for (var row = 0; row < timesteps.Length; row++)
            (timesteps[row], conditions[row]) = (plan.Steps[row / 2].Timestep, row % 2 == 0 ? Label : config.NullClass);
        return step with
        {
            Milliseconds = times,
            DriverBytes = driverBytes,
            OwnBytes = ownBytes,
            TableMilliseconds = timer.Rounds(() => model.Conditioner.Fill(timesteps, conditions, table), settings.Rounds),
        };
    }
}

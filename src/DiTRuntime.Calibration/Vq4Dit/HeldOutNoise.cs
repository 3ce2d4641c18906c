using DiTRuntime.Backends.Training;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Calibration.Training;
using DiTRuntime.Models;

namespace DiTRuntime.Calibration.Vq4Dit;

/// <summary>The error of the noise that a student predicts, on samples that it has not been trained on.</summary>
internal sealed class HeldOutNoise : IDisposable
{
    private const int BatchSize = 8, BatchCount = 4;

    /// <summary>Between the seed of the training's samples and that of these.</summary>
    private const ulong SeedDistance = 0x5EED;

    private readonly List<StudentBatch> _batches = [];
    private readonly FinalLayer _final;
    private readonly StudentGradient _student;

    /// <param name="model">The teacher; not kept.</param>
    /// <param name="weights">Its weights, for the final layer.</param>
    /// <param name="backend">Where students run.</param>
    /// <param name="seed">Seed of the training's samples.</param>
    public HeldOutNoise(DiTModel model, DiTWeights weights, ITrainingBackend backend, ulong seed)
    {
        var config = model.Config;
        var set = CalibrationSet.Sample(model, BatchCount * BatchSize, seed + SeedDistance);
        using (var teacher = new Teacher(model, BatchSize))
        {
            for (var first = 0; first < set.Count; first += BatchSize)
            {
                _batches.Add(teacher.Run(
                    set.Latents.AsSpan(first * config.LatentCount, BatchSize * config.LatentCount), set.Timesteps.AsSpan(first, BatchSize), set.Labels.AsSpan(first, BatchSize), keepsBlocks: false));
            }
        }

        _final = new FinalLayer(backend, config, weights.FinalLinear, BatchSize);
        _student = new StudentGradient(backend, config, model.Compatibility, BatchSize, _final);
    }

    /// <summary>The mean squared error of the noise.</summary>
    /// <param name="layers">Per block, the five layers.</param>
    public double Measure(IReadOnlyList<IReadOnlyList<ITrainedLayer>> layers) =>
        _batches.Average(batch => _student.Evaluate(batch, layers, new LossWeights(Blocks: 0, Noise: 1, Variance: 0)).Noise);

    /// <inheritdoc/>
    public void Dispose()
    {
        _student.Dispose();
        _final.Dispose();
    }
}

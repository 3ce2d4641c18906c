using DiTRuntime.Backends.Training;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Models;

namespace DiTRuntime.Calibration.Training;

/// <summary>The error of the noise that a student predicts, on samples that it is not trained on.</summary>
internal sealed class HeldOutNoise : IDisposable
{
    private const int BatchSize = 8;

    private readonly List<StudentBatch> _batches = [];
    private readonly FinalLayer _final;
    private readonly StudentGradient _student;

    /// <param name="model">The teacher; not kept.</param>
    /// <param name="weights">Its weights, for the final layer.</param>
    /// <param name="backend">Where students run.</param>
    /// <param name="set">The calibration samples.</param>
    /// <param name="chosen">Those that are held out.</param>
    public HeldOutNoise(DiTModel model, DiTWeights weights, ITrainingBackend backend, CalibrationSet set, int[] chosen)
    {
        var config = model.Config;
        using (var teacher = new Teacher(model, BatchSize))
        {
            var latents = new float[BatchSize * config.LatentCount];
            for (var first = 0; first < chosen.Length; first += BatchSize)
            {
                // The last batch goes back to samples that have been counted before where too few are left.
                int[] batch = [.. Enumerable.Range(first, BatchSize).Select(i => chosen[i % chosen.Length])];
                for (var i = 0; i < BatchSize; i++) set.Latents.AsSpan(batch[i] * config.LatentCount, config.LatentCount).CopyTo(latents.AsSpan(i * config.LatentCount));
                _batches.Add(teacher.Run(latents, Array.ConvertAll(batch, i => set.Timesteps[i]), Array.ConvertAll(batch, i => set.Labels[i]), keepsBlocks: false));
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

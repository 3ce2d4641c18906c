using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Models;

namespace DiTRuntime.Calibration.Search;

/// <summary>Mean squared error of the predicted noise over points of the model's own trajectories: a forward pass per point, so the fast measure.</summary>
public sealed class NoiseErrorFitness : ISearchFitness
{
    /// <summary>Samples of a pass: bounds what is in memory.</summary>
    private const int BatchSize = 16;

    private readonly CandidateModels _models;
    private readonly CalibrationSet _set;
    private readonly float[] _expected;

    /// <param name="models">Makes candidates.</param>
    /// <param name="sampleCount">Points that are looked at.</param>
    /// <param name="seed">Seed of classes, noise and timesteps.</param>
    public NoiseErrorFitness(CandidateModels models, int sampleCount, ulong seed)
    {
        _models = models;
        using var reference = models.MakeReference();
        _set = CalibrationSet.Sample(reference, sampleCount, seed);
        _expected = Predict(reference);
        Description = $"noise error over {sampleCount} samples of seed {seed}";
    }

    /// <inheritdoc/>
    public string Description { get; }

    /// <inheritdoc/>
    public double Measure(IReadOnlyDictionary<string, int> groups)
    {
        using var model = _models.Make(groups);
        var found = Predict(model);
        double sum = 0;
        for (var i = 0; i < found.Length; i++) sum += Math.Pow((double)found[i] - _expected[i], 2);
        return sum / found.Length;
    }

    /// <summary>ε [n, C, S, S].</summary>
    private float[] Predict(DiTModel model)
    {
        var config = model.Config;
        var forward = new DiTForward(model);
        var noise = new float[_set.Count * config.LatentCount];
        for (var first = 0; first < _set.Count; first += BatchSize)
        {
            var count = Math.Min(BatchSize, _set.Count - first);
            var prediction = forward.Raw(
                _set.Latents.AsSpan(first * config.LatentCount, count * config.LatentCount), _set.Timesteps.AsSpan(first, count), _set.Labels.AsSpan(first, count));
            for (var i = 0; i < count; i++)
                prediction.AsSpan(i * (prediction.Length / count), config.LatentCount).CopyTo(noise.AsSpan((first + i) * config.LatentCount));
        }

        return noise;
    }
}

using DiTRuntime.Decoding;
using DiTRuntime.Models;
using DiTRuntime.Sampling;

namespace DiTRuntime.Calibration.Evaluation;

/// <summary>Gathers the errors of a comparison, batch after batch.</summary>
internal sealed class ComparisonMeasures
{
    private readonly DiTConfig _config;
    private readonly int[] _timesteps;
    private readonly ErrorSums[] _blocks;
    private readonly ErrorSums[] _steps;
    private readonly ErrorSums _noise = new();
    private readonly ErrorSums _latents = new();
    private readonly ErrorSums _pixels = new();
    private readonly List<ImagePair> _images = [];
    private readonly float[][] _outputs;

    public ComparisonMeasures(DiTConfig config, SamplingPlan plan)
    {
        _config = config;
        _timesteps = new int[plan.Steps.Length];
        for (var s = 0; s < _timesteps.Length; s++) _timesteps[s] = plan.Steps[s].Timestep;
        _blocks = [.. Enumerable.Range(0, config.Depth).Select(_ => new ErrorSums())];
        _steps = [.. _timesteps.Select(_ => new ErrorSums())];
        _outputs = new float[config.Depth][];
    }

    /// <summary>Takes a step with both models: the reference's latents through both, then the candidate's own through the candidate.</summary>
    public void CompareStep(int step, Trajectory reference, Trajectory candidate)
    {
        var latents = reference.Latents;
        reference.Predict(step, latents, (block, tokens) =>
        {
            if (block >= 0) _outputs[block] = tokens;
        });
        candidate.Predict(step, latents, (block, tokens) =>
        {
            if (block < 0) return;
            _blocks[block].Add(_outputs[block], tokens);
            _outputs[block] = [];
        });
        CompareNoise(step, reference.Prediction, candidate.Prediction);
        reference.Advance();
        // The first step starts from the same noise: its prediction stands already.
        if (step > 0) candidate.Predict(step, candidate.Latents);
        candidate.Advance();
    }

    /// <summary>Compares the latents that two trajectories end in, and what they decode to.</summary>
    public void CompareImages(int[] labels, float[] reference, float[] candidate, IImageDecoder? decoder)
    {
        _latents.Add(reference, candidate);
        if (decoder is null) return;
        for (var i = 0; i < labels.Length; i++)
        {
            var (right, wrong) = (Decode(decoder, reference, i), Decode(decoder, candidate, i));
            _pixels.Add(right, wrong);
            _images.Add(new ImagePair(labels[i], right, wrong));
        }
    }

    public ComparisonResult Result() => new(
        _noise.MeanSquare,
        _latents.SnrDecibels,
        _images.Count == 0 ? null : _pixels.PsnrDecibels(range: 2),
        [.. _blocks.Select((sums, i) => new BlockError(i, sums.Cosine, sums.SnrDecibels))],
        [.. _steps.Select((sums, s) => new TimestepError(_timesteps[s], sums.MeanSquare, sums.SnrDecibels))],
        _images);

    /// <summary>The noise stands in the first C channels of every row of the prediction.</summary>
    private void CompareNoise(int step, float[] reference, float[] candidate)
    {
        var rowLength = _config.OutChannels * _config.InputSize * _config.InputSize;
        for (var start = 0; start < reference.Length; start += rowLength)
        {
            var (right, wrong) = (reference.AsMemory(start, _config.LatentCount), candidate.AsMemory(start, _config.LatentCount));
            _steps[step].Add(right.Span, wrong.Span);
            _noise.Add(right.Span, wrong.Span);
        }
    }

    private float[] Decode(IImageDecoder decoder, float[] latents, int image)
    {
        var side = _config.InputSize * decoder.UpscaleFactor;
        var pixels = new float[side * side * decoder.ImageChannels];
        decoder.Decode(latents.AsSpan(image * _config.LatentCount, _config.LatentCount), _config.InputSize, _config.InputSize, pixels);
        foreach (ref var value in pixels.AsSpan()) value = Math.Clamp(value, -1, 1);
        return pixels;
    }
}

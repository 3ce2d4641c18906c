using DiTRuntime.Calibration.Training;

namespace DiTRuntime.Calibration.Vq4Dit;

/// <summary>When the ratio loss counts: not in iterations at whose beginning it is better than it has ever been, as in VQ4DiT's published code.</summary>
internal sealed class RatioPush
{
    private readonly double[] _best = [double.PositiveInfinity];

    /// <summary>Decides about an iteration.</summary>
    /// <param name="layers">The layers that are trained together.</param>
    public bool Counts(IReadOnlyCollection<SoftLayer> layers)
    {
        var loss = layers.Average(layer => layer.RatioLoss);
        if (loss >= _best[0]) return true;
        _best[0] = loss;
        return false;
    }

    /// <summary>Forgets what the best was.</summary>
    public void Reset() => _best[0] = double.PositiveInfinity;

    /// <summary>Takes the best to a state or back.</summary>
    public void Exchange(TrainingState state) => state.Exchange("ratio_loss", _best);
}

using DiTRuntime.Calibration.Training;

namespace DiTRuntime.Calibration.Vq4Dit;

/// <content>Interrupting a training and going on.</content>
internal sealed partial class SoftLayer
{
    /// <summary>Takes all that steps have changed to a state or back.</summary>
    public void Exchange(TrainingState state)
    {
        double[] facts = [IsHard ? 1 : 0, FrozenCount, RatioLoss, _gradientSize];
        state.Exchange($"{_start.Name}.facts", facts);
        if (state.IsLoading)
        {
            (FrozenCount, RatioLoss, _gradientSize) = ((int)facts[1], facts[2], facts[3]);
            if (facts[0] != 0 && _soft is not null) (_soft, _codes) = (null, new ushort[VectorCount]);
        }

        state.Exchange($"{_start.Name}.vectors", _vectors);
        state.Exchange($"{_start.Name}.vector_moments", _vectorMoments);
        if (Bias is not null)
        {
            state.Exchange($"{_start.Name}.bias", Bias);
            state.Exchange($"{_start.Name}.bias_moments", _biasMoments);
        }

        if (_soft is null)
        {
            state.Exchange($"{_start.Name}.codes", _codes);
            return;
        }

        state.Exchange($"{_start.Name}.logits", _soft.Logits);
        state.Exchange($"{_start.Name}.logit_moments", _soft.Moments);
        state.Exchange($"{_start.Name}.ratios", _soft.Ratios);
        state.Exchange($"{_start.Name}.frozen", _soft.Frozen);
    }
}

namespace DiTRuntime.Sampling;

/// <summary>The noise levels of the training timesteps, or of the subset of them that sampling visits.</summary>
/// <remarks>
/// Entry k belongs to training timestep <see cref="TimestepMap"/>[k]; k ascends with the noise. ᾱ is the share of signal
/// variance left, β[k] = 1 − ᾱ[k]/ᾱ_prev[k] (Nichol and Dhariwal 2021, section 4); all tables are double precision.
/// </remarks>
public sealed class NoiseSchedule
{
    /// <summary>Number of timesteps the published models were trained with.</summary>
    public const int TrainingSteps = 1000;

    private const double FirstBeta = 1e-4;
    private const double LastBeta = 0.02;

    private readonly int[] _timestepMap;
    private readonly double[] _betas;
    private readonly double[] _alphasCumprod;
    private readonly double[] _alphasCumprodPrevious;
    private readonly double[] _posteriorVariance;
    private readonly double[] _posteriorLogVarianceClipped;
    private readonly double[] _posteriorMeanCoefficient1;
    private readonly double[] _posteriorMeanCoefficient2;

    private NoiseSchedule(int[] timestepMap, double[] alphasCumprod, double[] alphasCumprodPrevious, bool singlePrecision)
    {
        var count = timestepMap.Length;
        SinglePrecision = singlePrecision;
        _timestepMap = timestepMap;
        _alphasCumprod = alphasCumprod;
        _alphasCumprodPrevious = alphasCumprodPrevious;
        _betas = new double[count];
        _posteriorVariance = new double[count];
        _posteriorLogVarianceClipped = new double[count];
        _posteriorMeanCoefficient1 = new double[count];
        _posteriorMeanCoefficient2 = new double[count];
        for (var k = 0; k < count; k++)
        {
            var alphaCumprod = alphasCumprod[k];
            var previous = alphasCumprodPrevious[k];
            var beta = 1 - alphaCumprod / previous;
            _betas[k] = beta;
            _posteriorVariance[k] = beta * (1 - previous) / (1 - alphaCumprod);
            _posteriorMeanCoefficient1[k] = beta * Math.Sqrt(previous) / (1 - alphaCumprod);
            _posteriorMeanCoefficient2[k] = (1 - previous) * Math.Sqrt(1 - beta) / (1 - alphaCumprod);
        }

        // The first posterior variance is 0 and has no logarithm. The next one stands in for it; the step that would
        // use it adds no noise.
        for (var k = 0; k < count; k++)
            _posteriorLogVarianceClipped[k] = Math.Log(count == 1 ? _betas[0] : _posteriorVariance[Math.Max(k, 1)]);
    }

    /// <summary>Training timestep of each entry, ascending.</summary>
    public ReadOnlySpan<int> TimestepMap => _timestepMap;

    /// <summary>β of each entry.</summary>
    public ReadOnlySpan<double> Betas => _betas;

    /// <summary>ᾱ of each entry.</summary>
    public ReadOnlySpan<double> AlphasCumprod => _alphasCumprod;

    /// <summary>ᾱ that a step from each entry arrives at; 1 after the last step.</summary>
    public ReadOnlySpan<double> AlphasCumprodPrev => _alphasCumprodPrevious;

    /// <summary>Variance of q(x_prev | x, x0): β(1 − ᾱ_prev)/(1 − ᾱ) (Ho et al. 2020, equation 7).</summary>
    public ReadOnlySpan<double> PosteriorVariance => _posteriorVariance;

    /// <summary>Logarithm of <see cref="PosteriorVariance"/>, its first entry replaced by the second.</summary>
    public ReadOnlySpan<double> PosteriorLogVarianceClipped => _posteriorLogVarianceClipped;

    /// <summary>Factor of x0 in the mean of q(x_prev | x, x0): β√ᾱ_prev/(1 − ᾱ).</summary>
    public ReadOnlySpan<double> PosteriorMeanCoef1 => _posteriorMeanCoefficient1;

    /// <summary>Factor of x in the mean of q(x_prev | x, x0): (1 − ᾱ_prev)√α/(1 − ᾱ).</summary>
    public ReadOnlySpan<double> PosteriorMeanCoef2 => _posteriorMeanCoefficient2;

    /// <summary>Whether ᾱ was rounded to single precision: the diffusers reading.</summary>
    public bool SinglePrecision { get; }

    /// <summary>The linear schedule of the published code: 1000 β from 1e-4 to 0.02, in double precision.</summary>
    public static NoiseSchedule Linear()
    {
        var alphasCumprod = new double[TrainingSteps];
        const double step = (LastBeta - FirstBeta) / (TrainingSteps - 1);
        var product = 1.0;
        for (var t = 0; t < TrainingSteps; t++)
        {
            var beta = t == TrainingSteps - 1 ? LastBeta : t * step + FirstBeta;
            product *= 1 - beta;
            alphasCumprod[t] = product;
        }

        return Complete(alphasCumprod, singlePrecision: false);
    }

    /// <summary>The linear schedule as diffusers computes it: β and ᾱ rounded to single precision.</summary>
    /// <remarks>
    /// PyTorch's single-precision linspace works from both ends towards the middle; its cumulative product carries a
    /// double and rounds each entry as it is stored.
    /// </remarks>
    public static NoiseSchedule LinearSingle()
    {
        var alphasCumprod = new double[TrainingSteps];
        const float first = (float)FirstBeta, last = (float)LastBeta;
        const float step = (last - first) / (TrainingSteps - 1);
        var product = 1.0;
        for (var t = 0; t < TrainingSteps; t++)
        {
            var beta = t < TrainingSteps / 2 ? first + step * t : last - step * (TrainingSteps - 1 - t);
            product *= 1f - beta;
            alphasCumprod[t] = (float)product;
        }

        return Complete(alphasCumprod, singlePrecision: true);
    }

    /// <summary>The schedule of a sampler that visits only some of this schedule's training timesteps.</summary>
    /// <param name="timesteps">Training timesteps, strictly ascending.</param>
    /// <param name="stride">
    /// Where a step from t arrives: at t − stride (no noise left when that is negative), as diffusers steps; null for the
    /// next lower entry of <paramref name="timesteps"/>, as the published code does. Both agree on an even spacing.
    /// </param>
    /// <exception cref="ArgumentException">The timesteps are empty, not ascending, or out of range.</exception>
    public NoiseSchedule Respace(ReadOnlySpan<int> timesteps, int? stride = null)
    {
        if (timesteps.IsEmpty) throw new ArgumentException("no timesteps", nameof(timesteps));
        if (_timestepMap.Length != TrainingSteps) throw new InvalidOperationException("the schedule is already respaced");
        var alphasCumprod = new double[timesteps.Length];
        var previous = new double[timesteps.Length];
        for (var k = 0; k < timesteps.Length; k++)
        {
            var lower = k == 0 ? -1 : timesteps[k - 1];
            if (timesteps[k] <= lower || timesteps[k] >= TrainingSteps)
                throw new ArgumentException($"timestep {timesteps[k]} after {lower}: expected ascending values below {TrainingSteps}", nameof(timesteps));
            var target = stride is { } s ? timesteps[k] - s : lower;
            alphasCumprod[k] = _alphasCumprod[timesteps[k]];
            previous[k] = target < 0 ? 1 : _alphasCumprod[target];
        }

        return new NoiseSchedule(timesteps.ToArray(), alphasCumprod, previous, SinglePrecision);
    }

    private static NoiseSchedule Complete(double[] alphasCumprod, bool singlePrecision)
    {
        var timesteps = new int[alphasCumprod.Length];
        for (var t = 0; t < timesteps.Length; t++) timesteps[t] = t;
        double[] previous = [1, .. alphasCumprod.AsSpan(0, alphasCumprod.Length - 1)];
        return new NoiseSchedule(timesteps, alphasCumprod, previous, singlePrecision);
    }
}

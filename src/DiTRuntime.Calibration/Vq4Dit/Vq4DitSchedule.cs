using System.Text.Json.Nodes;
using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Quantizing;

namespace DiTRuntime.Calibration.Vq4Dit;

/// <summary>How a training goes: how long assignments are sought, how large the steps are.</summary>
internal sealed record Vq4DitSchedule
{
    /// <summary>Steps of the optimizer where nothing is asked for: end to end, and of every block.</summary>
    private const int DefaultModelIterations = 400, DefaultBlockIterations = 200;

    /// <summary>Iterations over which steps of codewords and biases grow to their size.</summary>
    private const int WarmUp = 10;

    /// <summary>Steps of the optimizer.</summary>
    public required int Iterations { get; init; }

    /// <summary>Part of the iterations after which vectors that are not frozen take their best candidate.</summary>
    public double SoftShare { get; init; } = 0.6;

    /// <summary>The ratios to start from.</summary>
    public RatioRule Ratios { get; init; } = RatioRule.Distances;

    /// <summary>Step of the logits.</summary>
    public float LogitStep { get; init; } = 0.15f;

    /// <summary>Step of the codewords, in root mean squares of the layer's codewords; it falls to 0 over the iterations in which all layers are hard.</summary>
    public float CodewordStep { get; init; } = 1e-2f;

    /// <summary>Step of the biases, in root mean squares of the layer's weights; likewise.</summary>
    public float BiasStep { get; init; } = 3e-3f;

    /// <summary>Weight of the ratio loss, in multiples of the gradient's own size.</summary>
    public float RatioLoss { get; init; } = 2;

    /// <summary>Iterations after which every layer is hard.</summary>
    public int SoftIterations => (int)Math.Round(Iterations * SoftShare);

    /// <summary>Whether hard layers are looked at after an iteration: ten times, and after the last.</summary>
    public bool IsCheckpoint(int iteration) => iteration == Iterations || (iteration > SoftIterations && (Iterations - iteration) % Math.Max(1, (Iterations - SoftIterations) / 10) == 0);

    /// <summary>The schedule of what was asked for.</summary>
    /// <remarks>A start that knows the layers' inputs is good already: its codes are trusted, and steps are small enough not to lose it.</remarks>
    public static Vq4DitSchedule For(CodebookSettings settings)
    {
        var schedule = new Vq4DitSchedule { Iterations = settings.Iterations ?? (settings.Training == TrainingScope.Model ? DefaultModelIterations : DefaultBlockIterations) };
        return settings.Start == QuantizeMethod.Gptvq ? schedule with { Ratios = RatioRule.Trusted, LogitStep = 0.1f, CodewordStep = 3e-3f, BiasStep = 1e-3f } : schedule;
    }

    /// <summary>Adds what the result follows from to the record of the method.</summary>
    public void Write(JsonObject json)
    {
        json["iterations"] = Iterations;
        json["soft_share"] = SoftShare;
        json["logit_step"] = LogitStep;
        json["codeword_step"] = CodewordStep;
        json["bias_step"] = BiasStep;
        json["ratio_loss"] = RatioLoss;
        json["ratios"] = Ratios.ToString().ToLowerInvariant();
    }

    /// <summary>Sets the steps that layers take in an iteration, and hardens them when it is time.</summary>
    /// <param name="layers">The layers that are trained together.</param>
    /// <param name="iteration">Counted from 0.</param>
    /// <param name="pushes">Whether the ratio loss counts.</param>
    public void Prepare(IEnumerable<SoftLayer> layers, int iteration, bool pushes)
    {
        // Nothing settles while steps stay as large as they are; the published code keeps them and stops anywhere.
        var left = iteration < SoftIterations ? 1 : (Iterations - iteration) / (float)(Iterations - SoftIterations);
        // RMSprop has seen nothing yet, and every parameter would go its whole step at once.
        left *= Math.Min(1, (iteration + 1) / (float)WarmUp);
        foreach (var layer in layers)
        {
            if (iteration >= SoftIterations) layer.Harden();
            layer.Steps = new StepSizes(LogitStep, left * CodewordStep, left * BiasStep, pushes ? RatioLoss : 0);
        }
    }
}

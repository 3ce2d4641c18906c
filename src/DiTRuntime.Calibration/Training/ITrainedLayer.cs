namespace DiTRuntime.Calibration.Training;

/// <summary>A linear layer whose weight is made of codewords, or anything else that training changes.</summary>
internal interface ITrainedLayer
{
    /// <summary>N.</summary>
    int Outputs { get; }

    /// <summary>K.</summary>
    int Inputs { get; }

    /// <summary>b [N] as it stands, or null.</summary>
    float[]? Bias { get; }

    /// <summary>Copies the weight as it stands.</summary>
    /// <param name="weight">out Ŵ [N, K].</param>
    void CopyWeight(Span<float> weight);

    /// <summary>Takes one step of the optimizer.</summary>
    /// <param name="weightGradient">∂Ŵ [N, K].</param>
    /// <param name="biasGradient">∂b [N]; empty where there is no bias.</param>
    void Step(ReadOnlySpan<float> weightGradient, ReadOnlySpan<float> biasGradient);
}

namespace DiTRuntime.Calibration.Training;

/// <summary>What a student is trained on in one step, as the teacher has it.</summary>
/// <param name="Tokens">The residual stream before block 0, [B, T, H].</param>
/// <param name="Condition">SiLU(c) [B, H].</param>
/// <param name="BlockTargets">The teacher's output of every block, each [B, T, H], or null: no loss of blocks.</param>
/// <param name="FinalModulation">Shift and scale of the final layer, [B, 2H]; null where there is no prediction target.</param>
/// <param name="PredictionTarget">The prediction in patches, [B, T, p·p·Cout], or null: no loss of the prediction.</param>
internal sealed record StudentBatch(float[] Tokens, float[] Condition, float[][]? BlockTargets, float[]? FinalModulation, float[]? PredictionTarget);

/// <summary>What each part of the loss counts in what is minimised.</summary>
/// <param name="Blocks">Of the mean over blocks of the mean squared error of their outputs.</param>
/// <param name="Noise">Of the mean squared error of the prediction's noise channels.</param>
/// <param name="Variance">Of that of its variance channels.</param>
internal readonly record struct LossWeights(float Blocks, float Noise, float Variance);

/// <summary>The parts of the loss, unweighted; zero where the batch has no target.</summary>
internal readonly record struct StudentLoss(double Blocks, double Noise, double Variance);

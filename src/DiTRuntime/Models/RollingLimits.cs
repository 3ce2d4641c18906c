namespace DiTRuntime.Models;

/// <summary>How large a rolling batch may grow; memory for all of it is taken when it is made.</summary>
/// <param name="ImageCount">Images in it, at least 1. One that takes no part in a step costs a latent's memory and its rows of the table, no time.</param>
/// <param name="SampleCount">Samples of one pass of the model, at least 1: a guided image takes two, one without guidance one.</param>
/// <param name="TableBytes">Memory for adaLN rows. An image needs a row for each of its steps, or two when guided; images of the same class and timesteps share them.</param>
public sealed record RollingLimits(int ImageCount, int SampleCount, long TableBytes = 256L << 20);

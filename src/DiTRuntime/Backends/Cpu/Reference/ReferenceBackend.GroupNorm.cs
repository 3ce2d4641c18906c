namespace DiTRuntime.Backends.Cpu.Reference;

public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public void GroupNorm(Tensor input, Tensor gamma, Tensor beta, in GroupNormOptions options, Tensor output)
    {
        TensorCheck.GroupNorm(this, input, gamma, beta, options, output);
        var (samples, channels) = (input.Shape[0], input.RowLength);
        var area = input.Shape[1] * input.Shape[2];
        var groupSize = channels / options.GroupCount;
        for (var sample = 0; sample < samples; sample++)
        {
            var x = Floats(input).Slice(sample * area * channels, area * channels);
            var y = Floats(output).Slice(sample * area * channels, area * channels);
            for (var first = 0; first < channels; first += groupSize)
            {
                Cancellation.ThrowIfCancellationRequested();
                double mean = 0;
                for (var i = 0; i < area; i++)
                    for (var c = first; c < first + groupSize; c++) mean += x[i * channels + c];
                mean /= area * groupSize;

                double variance = 0;
                for (var i = 0; i < area; i++)
                    for (var c = first; c < first + groupSize; c++) variance += (x[i * channels + c] - mean) * (x[i * channels + c] - mean);
                variance /= area * groupSize;

                for (var i = 0; i < area; i++)
                    for (var c = first; c < first + groupSize; c++)
                    {
                        var normed = (x[i * channels + c] - mean) / Math.Sqrt(variance + options.Epsilon);
                        y[i * channels + c] = (float)Activate(options.Activation, normed * Floats(gamma)[c] + Floats(beta)[c]);
                    }
            }
        }
    }
}

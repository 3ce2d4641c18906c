namespace DiTRuntime.Backends.Cpu.Reference;

public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public void Convolution(Tensor input, PreparedConvolution layer, in ConvolutionOptions options, Tensor output)
    {
        TensorCheck.Convolution(this, input, layer, options, output);
        var prepared = TensorCheck.Prepared<ReferenceConvolution>(layer);
        var (rows, columns) = (output.Shape[1], output.Shape[2]);
        var y = Floats(output);
        for (var sample = 0; sample < output.Shape[0]; sample++)
            for (var row = 0; row < rows; row++)
            {
                Cancellation.ThrowIfCancellationRequested();
                for (var column = 0; column < columns; column++)
                    for (var channel = 0; channel < layer.Outputs; channel++)
                    {
                        var sum = ConvolveAt(input, prepared, options.UpsamplesInput, sample, row, column, channel);
                        var at = ((sample * rows + row) * columns + column) * layer.Outputs + channel;
                        if (options.Residual is { } residual) sum += Floats(residual)[at];
                        y[at] = (float)Activate(options.Activation, sum);
                    }
            }
    }

    /// <summary>b[o] + Σ W[o, i, j, c]·x[row + i − k/2, column + j − k/2, c], with x zero outside.</summary>
    private static double ConvolveAt(Tensor input, ReferenceConvolution layer, bool upsamples, int sample, int row, int column, int channel)
    {
        var (height, width, depth) = (input.Shape[1], input.Shape[2], input.Shape[3]);
        var size = layer.KernelSize;
        var scale = upsamples ? 2 : 1;
        double sum = layer.Bias[channel];
        for (var i = 0; i < size; i++)
            for (var j = 0; j < size; j++)
            {
                var (sourceRow, sourceColumn) = (row + i - size / 2, column + j - size / 2);
                if (sourceRow < 0 || sourceRow >= scale * height || sourceColumn < 0 || sourceColumn >= scale * width) continue;
                var pixel = (sample * height + sourceRow / scale) * width + sourceColumn / scale;
                var x = Floats(input).Slice(pixel * depth, depth);
                sum += Dot(layer.Weight.AsSpan(((channel * size + i) * size + j) * depth, depth), x);
            }

        return sum;
    }
}

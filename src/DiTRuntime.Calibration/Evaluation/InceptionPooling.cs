using System.Numerics.Tensors;

namespace DiTRuntime.Calibration.Evaluation;

/// <summary>What the Inception network does besides convolutions.</summary>
internal static class InceptionPooling
{
    private const int Window = 3;

    /// <summary>Largest of 3×3, stride 2, no padding: maps shrink to (n − 1)/2.</summary>
    public static FeatureMap MaxHalving(FeatureMap input) => Pool(input, stride: 2, padding: 0, isMaximum: true);

    /// <summary>Largest of 3×3 around each pixel, outside left out.</summary>
    public static FeatureMap Max(FeatureMap input) => Pool(input, stride: 1, padding: 1, isMaximum: true);

    /// <summary>Mean of 3×3 around each pixel, over what lies inside: as TensorFlow pools, and unlike PyTorch's default.</summary>
    public static FeatureMap Average(FeatureMap input) => Pool(input, stride: 1, padding: 1, isMaximum: false);

    /// <summary>Channels of several maps one after the other.</summary>
    public static FeatureMap Concatenate(params ReadOnlySpan<FeatureMap> maps)
    {
        var channels = 0;
        foreach (var map in maps) channels += map.Channels;
        var output = maps[0] with { Values = new float[maps[0].PixelCount * channels], Channels = channels };
        for (var pixel = 0; pixel < output.PixelCount; pixel++)
        {
            var at = pixel * channels;
            foreach (var map in maps)
            {
                map.Values.AsSpan(pixel * map.Channels, map.Channels).CopyTo(output.Values.AsSpan(at));
                at += map.Channels;
            }
        }

        return output;
    }

    /// <summary>Mean over all pixels of each image, [N, channels].</summary>
    public static void AverageAll(FeatureMap input, Span<float> output)
    {
        var (channels, area) = (input.Channels, input.Height * input.Width);
        for (var n = 0; n < input.Count; n++)
        {
            var target = output.Slice(n * channels, channels);
            target.Clear();
            for (var i = 0; i < area; i++) TensorPrimitives.Add(target, input.Values.AsSpan((n * area + i) * channels, channels), target);
            TensorPrimitives.Divide(target, area, target);
        }
    }

    /// <summary>
    /// Bilinear resize as the evaluator's graph does it (TensorFlow without aligned corners or half-pixel centres): output pixel i reads at i·in/out.
    /// </summary>
    /// <param name="input">[height, width, channels].</param>
    /// <param name="side">Side of the output.</param>
    /// <param name="output">[side, side, channels].</param>
    /// <param name="height">Rows of the input.</param>
    /// <param name="width">Columns of the input.</param>
    /// <param name="channels">Channels.</param>
    public static void Resize(ReadOnlySpan<float> input, int height, int width, int channels, int side, Span<float> output)
    {
        float scaleY = height / (float)side, scaleX = width / (float)side;
        for (var y = 0; y < side; y++)
        {
            var (top, bottom, fractionY) = Neighbours(y * scaleY, height);
            for (var x = 0; x < side; x++)
            {
                var (left, right, fractionX) = Neighbours(x * scaleX, width);
                for (var c = 0; c < channels; c++)
                {
                    float topLeft = input[(top * width + left) * channels + c], topRight = input[(top * width + right) * channels + c];
                    float bottomLeft = input[(bottom * width + left) * channels + c], bottomRight = input[(bottom * width + right) * channels + c];
                    var upper = topLeft + (topRight - topLeft) * fractionX;
                    var lower = bottomLeft + (bottomRight - bottomLeft) * fractionX;
                    output[(y * side + x) * channels + c] = upper + (lower - upper) * fractionY;
                }
            }
        }
    }

    private static (int Before, int After, float Fraction) Neighbours(float position, int count)
    {
        var before = (int)position;
        return (before, Math.Min(before + 1, count - 1), position - before);
    }

    private static FeatureMap Pool(FeatureMap input, int stride, int padding, bool isMaximum)
    {
        var height = (input.Height + 2 * padding - Window) / stride + 1;
        var width = (input.Width + 2 * padding - Window) / stride + 1;
        var channels = input.Channels;
        var output = new FeatureMap(new float[input.Count * height * width * channels], input.Count, height, width, channels);
        Parallel.For(0, output.PixelCount, pixel =>
        {
            var (image, y, x) = (pixel / (height * width), pixel / width % height, pixel % width);
            var target = output.Values.AsSpan(pixel * channels, channels);
            var (top, left) = (y * stride - padding, x * stride - padding);
            var count = 0;
            for (var sourceY = Math.Max(top, 0); sourceY < Math.Min(top + Window, input.Height); sourceY++)
                for (var sourceX = Math.Max(left, 0); sourceX < Math.Min(left + Window, input.Width); sourceX++)
                {
                    var source = input.Values.AsSpan(((image * input.Height + sourceY) * input.Width + sourceX) * channels, channels);
                    if (count++ == 0) source.CopyTo(target);
                    else if (isMaximum) TensorPrimitives.Max(target, source, target);
                    else TensorPrimitives.Add(target, source, target);
                }

            if (!isMaximum) TensorPrimitives.Divide(target, count, target);
        });
        return output;
    }
}

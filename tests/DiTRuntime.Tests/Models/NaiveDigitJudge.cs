namespace DiTRuntime.Tests.Models;

/// <summary>
/// The digit classifier that judges generated digits: conv1, conv2, conv3 (3×3, stride 2, padding 1, ReLU), fc1 (ReLU), fc2,
/// as the metadata of digits-judge.safetensors gives it.
/// </summary>
internal sealed class NaiveDigitJudge
{
    private readonly GoldenTensors _weights = GoldenTensors.Load(Path.Combine(TestFiles.Root, "src/DiTRuntime.Calibration/Evaluation/digits-judge.safetensors"));

    /// <summary>The digit an image shows.</summary>
    /// <param name="image">[1, 32, 32] in [−1, 1].</param>
    public int Classify(float[] image)
    {
        var scores = Scores(image);
        return Array.IndexOf(scores, scores.Max());
    }

    /// <summary>Ten scores, before the softmax.</summary>
    public float[] Scores(float[] image)
    {
        var (x, side) = (image, 32);
        foreach (var layer in new[] { "conv1", "conv2", "conv3" })
        {
            x = Convolve(x, side, layer);
            side /= 2;
        }

        return Dense(Dense(x, "fc1", relu: true), "fc2", relu: false);
    }

    private float[] Convolve(float[] input, int side, string layer)
    {
        var (weight, bias) = (_weights.F32($"{layer}.weight"), _weights.F32($"{layer}.bias"));
        var (outputs, inputs, half) = (bias.Length, input.Length / (side * side), side / 2);
        var output = new float[outputs * half * half];
        for (var o = 0; o < outputs; o++)
            for (var y = 0; y < half; y++)
                for (var x = 0; x < half; x++)
                {
                    var sum = bias[o];
                    for (var c = 0; c < inputs; c++)
                        for (var ky = 0; ky < 3; ky++)
                            for (var kx = 0; kx < 3; kx++)
                            {
                                var (iy, ix) = (2 * y + ky - 1, 2 * x + kx - 1);
                                if ((uint)iy < (uint)side && (uint)ix < (uint)side)
                                    sum += weight[((o * inputs + c) * 3 + ky) * 3 + kx] * input[(c * side + iy) * side + ix];
                            }

                    output[(o * half + y) * half + x] = MathF.Max(sum, 0);
                }

        return output;
    }

    private float[] Dense(float[] input, string layer, bool relu)
    {
        var (weight, output) = (_weights.F32($"{layer}.weight"), _weights.F32($"{layer}.bias").ToArray());
        for (var o = 0; o < output.Length; o++)
        {
            for (var i = 0; i < input.Length; i++) output[o] += weight[o * input.Length + i] * input[i];
            if (relu) output[o] = MathF.Max(output[o], 0);
        }

        return output;
    }
}

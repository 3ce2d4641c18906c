using DiTRuntime.Models;
using DiTRuntime.Tests.Backends.Training;

namespace DiTRuntime.Tests.Calibration.Training;

/// <summary>Blocks, final layer and losses in fp64, on the plain operations.</summary>
/// <param name="config">The architecture.</param>
/// <param name="mlpEpsilon">Of the norm before the MLP.</param>
/// <param name="samples">B.</param>
internal sealed class DoubleStudent(DiTConfig config, double mlpEpsilon, int samples)
{
    private int Tokens => config.TokenCount;

    private int Hidden => config.HiddenSize;

    /// <summary>One block: five weights and biases, x [B, T, H], condition [B, H].</summary>
    public double[] Block(double[][] weights, double[][] biases, double[] condition, double[] x)
    {
        var (rows, mlp) = (samples * Tokens, config.MlpSize);
        var m = DoublePrecision.Linear(condition, weights[0], biases[0], samples, 6 * Hidden, Hidden);
        var normed = DoublePrecision.NormModulate(x, m, 0, 1e-6, samples, Tokens, Hidden);
        var qkv = DoublePrecision.Linear(normed, weights[1], biases[1], rows, 3 * Hidden, Hidden);
        var attended = DoublePrecision.Attention(qkv, config.HeadCount, samples, Tokens, Hidden);
        var projected = DoublePrecision.Linear(attended, weights[2], biases[2], rows, Hidden, Hidden);
        x = DoublePrecision.Gate(x, projected, m, 2, samples, Tokens, Hidden);
        normed = DoublePrecision.NormModulate(x, m, 3, mlpEpsilon, samples, Tokens, Hidden);
        var hidden = DoublePrecision.Gelu(DoublePrecision.Linear(normed, weights[3], biases[3], rows, mlp, Hidden));
        return DoublePrecision.Gate(x, DoublePrecision.Linear(hidden, weights[4], biases[4], rows, Hidden, mlp), m, 5, samples, Tokens, Hidden);
    }

    /// <summary>Per sample and token: [p, p, Cout].</summary>
    public double[] Predict(double[] weight, double[] bias, double[] modulation, double[] x)
    {
        var normed = DoublePrecision.NormModulate(x, modulation, 0, 1e-6, samples, Tokens, Hidden);
        return DoublePrecision.Linear(normed, weight, bias, samples * Tokens, bias.Length, Hidden);
    }

    /// <summary>Mean squared error of the values whose channel is in a range.</summary>
    public double ChannelError(double[] prediction, double[] target, int firstChannel, int channels)
    {
        double sum = 0;
        var count = 0;
        for (var i = 0; i < prediction.Length; i++)
        {
            var channel = i % config.OutChannels - firstChannel;
            if (channel < 0 || channel >= channels) continue;
            sum += Math.Pow(prediction[i] - target[i], 2);
            count++;
        }

        return sum / count;
    }

    public static double MeanSquaredError(double[] x, double[] target) => x.Zip(target, (a, b) => Math.Pow(a - b, 2)).Average();
}

namespace DiTRuntime.Tests.Decoding;

/// <summary>The tiny autoencoder's decoder as its paper-napkin definition: channels first, padded arrays, nothing fused.</summary>
internal static class NaiveTinyAutoencoder
{
    /// <returns>[8·height, 8·width, 3] in [−1, 1].</returns>
    public static float[] Decode(List<TestTensor> tensors, float[] latent, int height, int width)
    {
        var weights = tensors.ToDictionary(t => t.Name);
        var x = new double[latent.Length / (height * width), height, width];
        Buffer.BlockCopy(Array.ConvertAll(latent, v => 3 * Math.Tanh(v / 3)), 0, x, 0, latent.Length * sizeof(double));
        x = Map(Convolve(x, weights, "1"), Relu);
        foreach (var index in (ReadOnlySpan<int>)[3, 4, 5, 7, 8, 9, 10, 12, 13, 14, 15, 17, 18])
        {
            if (index is 7 or 12 or 17)
            {
                x = Convolve(Upsample(x), weights, $"{index}");
                continue;
            }

            if (weights.ContainsKey($"{index}.pool.0.weight"))
            {
                var pooled = Map(GroupNorm(Convolve(x, weights, $"{index}.pool.0"), weights, $"{index}.pool.1"), Relu);
                x = Add(x, Convolve(pooled, weights, $"{index}.pool.3"));
            }

            var y = Map(Convolve(x, weights, $"{index}.conv.0"), Relu);
            y = Map(Convolve(y, weights, $"{index}.conv.2"), Relu);
            x = Map(Add(x, Convolve(y, weights, $"{index}.conv.4")), Relu);
        }

        x = Convolve(x, weights, "19");
        var pixels = new float[x.Length];
        for (var i = 0; i < pixels.Length; i++) pixels[i] = (float)(2 * x[i % 3, i / 3 / x.GetLength(2), i / 3 % x.GetLength(2)] - 1);
        return pixels;
    }

    private static double Relu(double value) => value > 0 ? value : 0;

    private static double[,,] Map(double[,,] x, Func<double, double> function) => Generate(x, (c, y, z) => function(x[c, y, z]));

    private static double[,,] Add(double[,,] a, double[,,] b) => Generate(a, (c, y, z) => a[c, y, z] + b[c, y, z]);

    private static double[,,] Upsample(double[,,] x) =>
        Generate(new double[x.GetLength(0), 2 * x.GetLength(1), 2 * x.GetLength(2)], (c, y, z) => x[c, y / 2, z / 2]);

    private static double[,,] Convolve(double[,,] x, Dictionary<string, TestTensor> weights, string name)
    {
        var (weight, bias) = (weights[name + ".weight"], weights.GetValueOrDefault(name + ".bias"));
        var (outputs, inputs, k) = (weight.Shape[0], weight.Shape[1], weight.Shape[2]);
        var padded = new double[inputs, x.GetLength(1) + k - 1, x.GetLength(2) + k - 1];
        for (var c = 0; c < inputs; c++)
            for (var y = 0; y < x.GetLength(1); y++)
                for (var z = 0; z < x.GetLength(2); z++) padded[c, y + k / 2, z + k / 2] = x[c, y, z];

        return Generate(new double[outputs, x.GetLength(1), x.GetLength(2)], (o, y, z) =>
        {
            var sum = bias is null ? 0.0 : bias.Values[o];
            for (var c = 0; c < inputs; c++)
                for (var i = 0; i < k; i++)
                    for (var j = 0; j < k; j++) sum += weight.Values[((o * inputs + c) * k + i) * k + j] * padded[c, y + i, z + j];
            return sum;
        });
    }

    private static double[,,] GroupNorm(double[,,] x, Dictionary<string, TestTensor> weights, string name)
    {
        var groupSize = x.GetLength(0) / 4;
        var groups = Enumerable.Range(0, 4).Select(g => Enumerable.Range(g * groupSize, groupSize)
            .SelectMany(c => Enumerable.Range(0, x.GetLength(1) * x.GetLength(2)).Select(i => x[c, i / x.GetLength(2), i % x.GetLength(2)])).ToArray()).ToArray();
        var means = groups.Select(g => g.Average()).ToArray();
        var deviations = groups.Select((g, i) => Math.Sqrt(g.Average(v => (v - means[i]) * (v - means[i])) + 1e-5)).ToArray();
        return Generate(x, (c, y, z) =>
            (x[c, y, z] - means[c / groupSize]) / deviations[c / groupSize] * weights[name + ".weight"].Values[c] + weights[name + ".bias"].Values[c]);
    }

    private static double[,,] Generate(double[,,] shape, Func<int, int, int, double> value)
    {
        var result = new double[shape.GetLength(0), shape.GetLength(1), shape.GetLength(2)];
        for (var c = 0; c < result.GetLength(0); c++)
            for (var y = 0; y < result.GetLength(1); y++)
                for (var z = 0; z < result.GetLength(2); z++) result[c, y, z] = value(c, y, z);
        return result;
    }
}

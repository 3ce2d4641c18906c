namespace DiTRuntime.Tests.Quantization;

/// <summary>The scalar quantizer of least squared error for normal values (Lloyd 1957, Max 1960): the yardstick of the distortion tests.</summary>
internal static class LloydMax
{
    /// <summary>The levels, ascending: each is the mean of its cell, each boundary halfway between two.</summary>
    public static double[] Levels(int count)
    {
        const double Step = 1e-3;
        double[] levels = [.. Enumerable.Range(0, count).Select(i => 4.0 * (i + 0.5) / count - 2)];
        for (var round = 0; round < 400; round++)
        {
            var (mass, moment) = (new double[count], new double[count]);
            var cell = 0;
            for (var x = -8 + Step / 2; x < 8; x += Step)
            {
                while (cell + 1 < count && x > (levels[cell] + levels[cell + 1]) / 2) cell++;
                mass[cell] += Gaussian.Density(x);
                moment[cell] += x * Gaussian.Density(x);
            }

            for (var i = 0; i < count; i++) levels[i] = moment[i] / mass[i];
        }

        return levels;
    }

    public static double Nearest(double[] levels, double x) => levels.MinBy(level => Math.Abs(level - x));
}

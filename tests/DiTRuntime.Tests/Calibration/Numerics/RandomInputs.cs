using DiTRuntime.Calibration.Numerics;

namespace DiTRuntime.Tests.Calibration.Numerics;

/// <summary>Correlated random inputs of a layer, their Hessian, and what it should be.</summary>
internal sealed class RandomInputs : IDisposable
{
    public RandomInputs(Workers workers, int size, int count, int seed, int? deadColumn = null)
    {
        var random = new Random(seed);
        Values = new float[count * size];
        for (var r = 0; r < count; r++)
        {
            var common = random.NextSingle() - 0.5f;
            for (var k = 0; k < size; k++)
                Values[r * size + k] = k == deadColumn ? 0 : common + (random.NextSingle() - 0.5f) * (1 + k % 3);
        }

        Hessian = new Hessian(workers, size);
        Hessian.Add(Values);
        Expected = new double[size, size];
        for (var i = 0; i < size; i++)
            for (var j = 0; j < size; j++)
                for (var r = 0; r < count; r++)
                    Expected[i, j] += 2.0 / count * Values[r * size + i] * Values[r * size + j];
        if (deadColumn is { } dead) Expected[dead, dead] = 1;
    }

    public float[] Values { get; }

    public Hessian Hessian { get; }

    /// <summary>(2/n) Σ x xᵀ in double precision, 1 for a dead column.</summary>
    public double[,] Expected { get; }

    public void Dispose() => Hessian.Dispose();
}

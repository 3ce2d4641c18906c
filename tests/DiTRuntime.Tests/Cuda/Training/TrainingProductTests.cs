using DiTRuntime.Backends.Training;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Tests.Cuda.Training;

/// <summary>The three products of a linear layer against plain loops.</summary>
[Category(TestDevice.Category)]
internal sealed class TrainingProductTests
{
    /// <summary>M, N, K: less than a tile, ragged ones on every side of 128 and 64, depths on every side of 16.</summary>
    private static readonly int[][] s_shapes = [[1, 4, 4], [5, 36, 24], [17, 100, 36], [64, 64, 128], [130, 132, 68], [200, 8, 260]];

    [Test]
    public void Every_value_is_one_chain_over_the_ascending_depth([Values] LinearProduct product, [ValueSource(nameof(s_shapes))] int[] shape, [Values] bool adds)
    {
        using var scene = new TrainingScene();
        int m = shape[0], n = shape[1], k = shape[2];
        // What is summed over, and how a factor's value (row or column of the result, depth) is found.
        var (rows, columns, depth) = product switch { LinearProduct.Output => (m, n, k), LinearProduct.InputGradient => (m, k, n), _ => (n, k, m) };
        var (left, a) = scene.Normal(1, product == LinearProduct.WeightGradient ? [depth, rows] : [rows, depth]);
        var (right, b) = scene.Normal(2, product == LinearProduct.Output ? [columns, depth] : [depth, columns]);
        var (result, old) = scene.Normal(3, rows, columns);
        scene.Backend.Multiply(product, left, right, result, adds);

        var actual = scene.Read(result);
        for (var row = 0; row < rows; row++)
            for (var column = 0; column < columns; column++)
            {
                var (chain, exact, size) = (0f, 0.0, 0.0);
                for (var i = 0; i < depth; i++)
                {
                    var x = product == LinearProduct.WeightGradient ? a[i * rows + row] : a[row * depth + i];
                    var w = product == LinearProduct.Output ? b[column * depth + i] : b[i * columns + column];
                    chain = MathF.FusedMultiplyAdd(x, w, chain);
                    exact += (double)x * w;
                    size += Math.Abs((double)x * w);
                }

                var at = row * columns + column;
                Assert.That(actual[at], Is.EqualTo(adds ? old[at] + chain : chain), $"the same bits at {row}, {column}");
                // Each of the depth's additions rounds by half an ulp of at most the sum of sizes.
                Assert.That(chain, Is.EqualTo(exact).Within(depth * size / (1 << 24)), $"{row}, {column}");
            }
    }

    [Test]
    public void A_row_has_the_same_bits_alone()
    {
        using var scene = new TrainingScene();
        var (x, values) = scene.Normal(1, 70, 36);
        var (w, _) = scene.Normal(2, 24, 36);
        var all = scene.Of(new float[70 * 24], 70, 24);
        var alone = scene.Of(new float[24], 1, 24);
        scene.Backend.Multiply(LinearProduct.Output, x, w, all);
        scene.Backend.Multiply(LinearProduct.Output, scene.Of(values[(66 * 36)..(67 * 36)], 1, 36), w, alone);
        Assert.That(scene.Read(alone), Is.EqualTo(scene.Read(all)[(66 * 24)..(67 * 24)]));
    }

    [Test]
    public void Sizes_it_cannot_take_are_refused()
    {
        using var scene = new TrainingScene();
        var (x, w, y) = (scene.Of(new float[6], 1, 6), scene.Of(new float[24], 4, 6), scene.Of(new float[4], 1, 4));
        Assert.That(
            () => scene.Backend.Multiply(LinearProduct.Output, x, w, y),
            Throws.InstanceOf<GpuUnavailableException>().With.Message.EqualTo("training a linear layer on the GPU asks for rows of a multiple of 4 values, not 6; use --backend cpu"));
        Assert.That(() => scene.Backend.Multiply(LinearProduct.InputGradient, x, w, y), Throws.ArgumentException.With.Message.Contains("right"));
    }
}

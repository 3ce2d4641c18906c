using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Calibration.Codebooks;

internal sealed unsafe class AssignmentUpdateTests
{
    private const int Rows = 19;

    // Blocks of 128 columns, eight codewords at a time: below, at and beyond; with every layout.
    private static IEnumerable<TestCaseData> Problems() =>
    [
        new(8, new CodebookFormat(2, 8)),
        new(128, new CodebookFormat(16, 4)),
        new(132, new CodebookFormat(17, 6) { HasRowScales = true }),
        new(264, new CodebookFormat(9, 8) { IsProduct = true }),
        new(136, new CodebookFormat(7, 8) { IsProduct = true, PoolSize = 40, HasRowScales = true }),
        new(130, new CodebookFormat(5, 5)),
    ];

    [TestCaseSource(nameof(Problems))]
    public void Sweeps_lower_the_error_until_no_single_code_can(int inputs, CodebookFormat format)
    {
        using var workers = new Workers(2);
        using var problem = new OutputProblem(workers, Rows, inputs, format);
        using var update = new AssignmentUpdate(workers, problem.Weights, problem.Hessian);
        var error = problem.Error();
        // fp32 sums of K products against double precision.
        Assert.That(update.Objective(problem.Layer), Is.EqualTo(error).Within(1e-4 * error));
        for (var sweep = 0; sweep < 30; sweep++)
        {
            var changes = update.Sweep(problem.Layer);
            var next = problem.Error();
            Assert.That(next, Is.LessThanOrEqualTo(error), $"sweep {sweep}");
            error = next;
            if (changes == 0) break;
        }

        for (var row = 0; row < Rows; row++)
        {
            var present = problem.RowError(row);
            for (var j = 0; j < problem.Layer.VectorsPerRow; j++)
            {
                ref var code = ref problem.Layer.Codes[row * problem.Layer.VectorsPerRow + j];
                var best = code;
                for (code = 0; code < format.CodebookSize; code++)
                    Assert.That(problem.RowError(row), Is.GreaterThanOrEqualTo(present * (1 - 1e-3)), $"row {row}, place {j}, code {code}");
                code = best;
            }
        }
    }

    [TestCaseSource(nameof(Problems))]
    public void Vectors_are_the_least_squares_solution(int inputs, CodebookFormat format)
    {
        using var workers = new Workers(2);
        using var problem = new OutputProblem(workers, Rows, inputs, format);
        using var update = new AssignmentUpdate(workers, problem.Weights, problem.Hessian);
        var (error, slope) = (problem.Error(), Norm(Slope(problem)));
        foreach (var iterations in new[] { 1, 3, 200 })
        {
            update.SolveVectors(problem.Layer, iterations);
            var next = problem.Error();
            Assert.That(next, Is.LessThanOrEqualTo(error * (1 + 1e-6)), $"{iterations} iterations");
            error = next;
        }

        // At the solution the derivative by every vector vanishes, up to what fp32 products leave.
        Assert.That(Norm(Slope(problem)), Is.LessThan(2e-3 * slope));
    }

    [Test]
    public void Row_scales_are_the_best_for_their_rows()
    {
        using var workers = new Workers(2);
        using var problem = new OutputProblem(workers, Rows, 48, new CodebookFormat(16, 4) { HasRowScales = true });
        using var update = new AssignmentUpdate(workers, problem.Weights, problem.Hessian);
        // Codes that follow the weights, so that no best scale is negative.
        update.Sweep(problem.Layer);
        update.SolveRowScales(problem.Layer);
        for (var row = 0; row < Rows; row++)
        {
            var present = problem.RowError(row);
            ref var scale = ref problem.Layer.RowScales[row];
            var best = scale;
            foreach (var factor in new[] { 0.99f, 1.01f })
            {
                scale = factor * best;
                Assert.That(problem.RowError(row), Is.GreaterThan(present), $"row {row}, scale times {factor}");
            }

            scale = best;
        }
    }

    [Test]
    public void Is_the_same_on_any_number_of_threads()
    {
        (ushort[] Codes, float[] Vectors, float[] Scales) Run(int threads)
        {
            using var workers = new Workers(threads);
            using var problem = new OutputProblem(workers, 210, 136, new CodebookFormat(7, 8) { IsProduct = true, PoolSize = 40, HasRowScales = true });
            using var update = new AssignmentUpdate(workers, problem.Weights, problem.Hessian);
            update.Sweep(problem.Layer);
            update.SolveVectors(problem.Layer, 3);
            update.SolveRowScales(problem.Layer);
            return (problem.Layer.Codes, problem.Layer.Vectors, problem.Layer.RowScales);
        }

        var one = Run(1);
        foreach (var threads in new[] { 2, 3 })
        {
            var (codes, vectors, scales) = Run(threads);
            Assert.That(codes, Is.EqualTo(one.Codes));
            Assert.That(vectors, Is.EqualTo(one.Vectors));
            Assert.That(scales, Is.EqualTo(one.Scales));
        }
    }

    /// <summary>Half the derivative of the error by the vectors, by its definition.</summary>
    private static double[] Slope(OutputProblem problem)
    {
        var layer = problem.Layer;
        var d = layer.VectorLength;
        var slope = new double[layer.Vectors.Length];
        for (var row = 0; row < Rows; row++)
        {
            var e = problem.Errors(row);
            for (var i = 0; i < e.Length; i++)
                for (var l = 0; l < e.Length; l++) slope[layer.VectorAt(row, i / d) * d + i % d] -= layer.RowScales[row] * problem.Hessian.Row(i)[l] * e[l];
        }

        return slope;
    }

    private static double Norm(double[] values) => Math.Sqrt(values.Sum(value => value * value));
}

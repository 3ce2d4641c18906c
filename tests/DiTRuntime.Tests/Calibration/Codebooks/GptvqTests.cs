using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Calibration.Numerics;
using DiTRuntime.Tests.Quantization;

namespace DiTRuntime.Tests.Calibration.Codebooks;

internal sealed unsafe class GptvqTests
{
    private const int Outputs = 48;

    /// <summary>Vectors that fill blocks of 128 columns and such that do not, a ragged last block, every layout.</summary>
    private static readonly TestCaseData[] s_formats =
    [
        new(new CodebookFormat(16, 2), 192),
        new(new CodebookFormat(16, 2) { Parts = 3, HasRowScales = true }, 192),
        new(new CodebookFormat(40, 3), 300),
        new(new CodebookFormat(64, 8) { HasRowScales = true }, 136),
        new(new CodebookFormat(8, 4) { IsProduct = true }, 160),
        new(new CodebookFormat(8, 4) { IsProduct = true, HasRowScales = true }, 160),
    ];

    [TestCaseSource(nameof(s_formats))]
    public void Loses_less_of_the_outputs_than_k_means_and_single_codes_are_the_best(CodebookFormat format, int inputs)
    {
        using var workers = new Workers(2);
        using var problem = new RandomInputs(workers, inputs, 3 * inputs, seed: 4, deadColumn: 40);
        using var factor = InverseFactor.Of(workers, problem.Hessian, Gptq.DampingRatio);
        var weights = Gaussian.Values(Outputs * inputs, 6);
        using var backend = CpuBackend.Create(new CpuOptions(2));
        var start = new CodebookQuantizer(backend, workers, seed: 1);

        CodebookCodes plain, found;
        fixed (float* values = weights)
        {
            var matrix = new Matrix(values, Outputs, inputs, inputs);
            plain = start.Quantize(matrix, format);
            found = new Gptvq(workers, matrix, format, new InputStatistics(problem.Hessian, factor)).Quantize(start);
        }

        var delta = Deltas(weights, inputs, format, found);
        Assert.That(WeightedError(delta, problem), Is.LessThan(0.75 * WeightedError(Deltas(weights, inputs, format, plain), problem)));
        Assert.That(PartThatCouldBeBetter(weights, inputs, format, found, problem, factor.Damping), Is.LessThan(0.1));
    }

    [Test]
    public void Any_number_of_threads_gives_the_same_codes()
    {
        const int inputs = 160;
        var format = new CodebookFormat(16, 4) { Parts = 3, HasRowScales = true };
        var weights = Gaussian.Values(Outputs * inputs, 6);
        var results = new List<CodebookCodes>();
        foreach (var threads in new[] { 1, 2, 5 })
        {
            using var workers = new Workers(threads);
            using var problem = new RandomInputs(workers, inputs, 300, seed: 4);
            using var factor = InverseFactor.Of(workers, problem.Hessian, Gptq.DampingRatio);
            using var backend = CpuBackend.Create(new CpuOptions(threads));
            fixed (float* values = weights)
                results.Add(new Gptvq(workers, new Matrix(values, Outputs, inputs, inputs), format, new InputStatistics(problem.Hessian, factor)).Quantize(new CodebookQuantizer(backend, workers, seed: 1)));
        }

        foreach (var result in results.Skip(1))
        {
            Assert.That(result.Codes, Is.EqualTo(results[0].Codes));
            Assert.That(result.Vectors, Is.EqualTo(results[0].Vectors));
            Assert.That(result.RowScales, Is.EqualTo(results[0].RowScales));
        }
    }

    /// <summary>The codewords of least squares are those of the normal equations: the gradient, by a double loop, is as good as zero.</summary>
    [Test]
    public void Fitted_codewords_are_the_least_squares([Values] bool isProduct)
    {
        const int inputs = 32;
        var format = new CodebookFormat(4, 2) { IsProduct = isProduct };
        using var workers = new Workers(2);
        using var problem = new RandomInputs(workers, inputs, 400, seed: 4);
        var weights = Gaussian.Values(Outputs * inputs, 6);
        var random = new Random(2);
        var codes = new CodebookCodes(
            [.. Enumerable.Range(0, Outputs * inputs / 2).Select(_ => (ushort)random.Next(4))], [.. Gaussian.Values(format.BookCount(inputs) * 8, 3).Select(value => (Half)value)], null);
        var hessian = new float[inputs * inputs];
        fixed (float* values = weights, h = hessian)
        {
            problem.Hessian.CopyTo(h);
            using var update = new AssignmentUpdate(workers, new Matrix(values, Outputs, inputs, inputs), new Matrix(h, inputs, inputs, inputs));
            var before = Gradient(weights, inputs, format, codes, problem).Max(Math.Abs);
            var layer = CodebookLayer.From(codes, Outputs, inputs, format);

            update.SolveVectors(layer, 24);

            // Codewords are rounded to F16, of 11 bits.
            Assert.That(Gradient(weights, inputs, format, layer.ToCodes(), problem).Max(Math.Abs), Is.LessThan(3e-3 * before));
        }
    }

    [Test]
    public void The_nearest_codeword_by_a_metric_is_what_a_double_loop_finds([Values(2, 5, 8)] int d, [Values(5, 32, 70)] int k)
    {
        var format = new CodebookFormat(k, d) { Parts = 2 };
        var codewords = Gaussian.Values(2 * k * d, 1);
        var metrics = Gaussian.Values(3 * d * d, 2);
        using var workers = new Workers(2);
        using var books = new MetricBooks(format, 2);
        books.Fill(workers, codewords, firstPosition: 1, count: 2, metrics);
        var x = stackalloc float[d];
        var product = stackalloc float[d];
        for (var trial = 0; trial < 50; trial++)
        {
            var values = Gaussian.Values(d, 10 + trial);
            var (position, part) = (trial % 2, trial / 2 % 2);
            values.CopyTo(new Span<float>(x, d));
            fixed (float* metric = &metrics[(1 + position) * d * d]) MetricBooks.Multiply(x, metric, product, d);
            double Distance(int c) => Enumerable.Range(0, d).Sum(i =>
                Math.Pow(Enumerable.Range(0, d).Sum(j => (values[j] - (double)codewords[((part * k) + c) * d + j]) * metrics[((1 + position) * d + j) * d + i]), 2));

            var nearest = books.Nearest(position, part, product);

            Assert.That(Distance(nearest), Is.LessThanOrEqualTo(Enumerable.Range(0, k).Min(Distance) * (1 + 1e-4)));
        }
    }

    [Test]
    public void Small_triangular_matrices_are_inverted()
    {
        double[,] a = { { 4, 2, 0.5 }, { 0, 5, 1 }, { 0, 0, 3 } };

        var inverse = SmallMatrix.InverseOfUpper(3, (i, j) => a[i, j]);

        for (var i = 0; i < 3; i++)
        {
            for (var j = 0; j < 3; j++)
            {
                Assert.That(Enumerable.Range(0, 3).Sum(k => a[i, k] * inverse[k * 3 + j]), Is.EqualTo(i == j ? 1 : 0).Within(1e-5));
            }
        }
    }

    private static double[,] Deltas(float[] weights, int inputs, CodebookFormat format, CodebookCodes codes)
    {
        var made = CodebookWeight.Pack("layer", Outputs, inputs, null, format, codes.Codes, codes.Vectors, rowScales: codes.RowScales);
        var values = new float[weights.Length];
        made.CopyRows(0, Outputs, values);
        var delta = new double[Outputs, inputs];
        for (var i = 0; i < weights.Length; i++) delta[i / inputs, i % inputs] = weights[i] - (double)values[i];
        return delta;
    }

    private static double WeightedError(double[,] delta, RandomInputs problem)
    {
        double sum = 0;
        for (var row = 0; row < delta.GetLength(0); row++)
            for (var i = 0; i < delta.GetLength(1); i++)
                for (var j = 0; j < delta.GetLength(1); j++)
                    sum += delta[row, i] * problem.Hessian[i, j] * delta[row, j];
        return sum;
    }

    /// <summary>Part of the vectors that another codeword, the others as they stand, would make better by more than 0.1 % of the row's error.</summary>
    private static double PartThatCouldBeBetter(float[] weights, int inputs, CodebookFormat format, CodebookCodes codes, RandomInputs problem, double damping)
    {
        var (d, delta, better) = (format.VectorLength, Deltas(weights, inputs, format, codes), 0);
        var h = new double[inputs, inputs];
        for (var i = 0; i < inputs; i++)
            for (var j = 0; j < inputs; j++) h[i, j] = problem.Hessian[i, j] + (i == j ? damping : 0);
        for (var row = 0; row < Outputs; row++)
        {
            var (scale, gradient, error) = (codes.RowScales is { } scales ? (double)scales[row] : 1, new double[inputs], 0.0);
            for (var i = 0; i < inputs; i++)
            {
                for (var j = 0; j < inputs; j++) gradient[i] += delta[row, j] * h[i, j];
                error += gradient[i] * delta[row, i];
            }

            for (var j = 0; j < inputs / d; j++)
            {
                var book = (format.IsProduct ? j : row / (Outputs / format.Parts)) * format.CodebookSize;
                var code = codes.Codes[row * inputs / d + j];
                var isBetter = false;
                for (var c = 0; c < format.CodebookSize; c++)
                {
                    double change = 0;
                    for (var a = 0; a < d; a++)
                    {
                        double Move(int i) => scale * ((double)codes.Vectors[(book + code) * d + i] - (double)codes.Vectors[(book + c) * d + i]);
                        change += 2 * Move(a) * gradient[j * d + a];
                        for (var b = 0; b < d; b++) change += Move(a) * h[j * d + a, j * d + b] * Move(b);
                    }

                    isBetter |= change < -1e-3 * error;
                }

                if (isBetter) better++;
            }
        }

        return better / (Outputs * inputs / (double)d);
    }

    /// <summary>Σ over each codeword's vectors of ((W − Ŵ)H)_nj.</summary>
    private static double[] Gradient(float[] weights, int inputs, CodebookFormat format, CodebookCodes codes, RandomInputs problem)
    {
        var (d, delta, gradient) = (format.VectorLength, Deltas(weights, inputs, format, codes), new double[codes.Vectors.Length]);
        for (var row = 0; row < Outputs; row++)
        {
            for (var k = 0; k < inputs; k++)
            {
                var book = format.IsProduct ? k / d : row / (Outputs / format.Parts);
                var to = (book * format.CodebookSize + codes.Codes[(row * inputs + k) / d]) * d + k % d;
                for (var i = 0; i < inputs; i++) gradient[to] += delta[row, i] * problem.Hessian[i, k];
            }
        }

        return gradient;
    }
}

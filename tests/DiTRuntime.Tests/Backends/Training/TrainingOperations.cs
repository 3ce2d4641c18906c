using DiTRuntime.Backends;
using DiTRuntime.Backends.Training;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Tests.Backends.Training;

/// <summary>Every operation of a training backend against plain loops in fp64, and every gradient against central differences of them.</summary>
/// <remarks>
/// Shapes straddle the vector, the panel and the tile. Values are of the order of one and sums up to some hundreds long, in fp32 with an error of about
/// √n·6e-8 of their norm; the differences themselves are good to 1e-9. A wrong term is off by more than 1e-3.
/// </remarks>
internal abstract class TrainingOperations
{
    private const double Tolerance = 3e-6;

    private readonly List<Tensor> _tensors = [];
    private RandomWeights _random = null!;

    protected abstract ITrainingBackend Backend { get; }

    [SetUp]
    public void Start() => _random = new RandomWeights(71);

    [TearDown]
    public void Finish()
    {
        foreach (var tensor in _tensors) tensor.Dispose();
        _tensors.Clear();
        _random.Dispose();
    }

    [Test]
    public void Products_are_those_of_a_linear_layer([Values(1, 7, 24, 131)] int m, [Values(24, 36, 100)] int n, [Values(3, 36, 100)] int k, [Values] bool adds) =>
        CheckProducts(m, n, k, adds);

    [TestCase(1200, 9, 50)]
    [TestCase(9, 1200, 50)]
    [TestCase(9, 50, 1200)]
    public void Products_deeper_than_a_block_are_whole(int m, int n, int k) => CheckProducts(m, n, k, adds: false);

    [Test]
    public void Bias_is_added_and_its_gradient_is_the_sum_of_rows([Values(1, 5, 33)] int rows, [Values(3, 24, 36, 100, 300)] int width)
    {
        var (y, b) = (_random.Values(rows * width), _random.Values(width));
        var (ty, tb) = (Upload(y, rows, width), Upload(new float[width], width));
        Backend.BiasGradient(ty, tb);
        var sums = new double[width];
        for (var i = 0; i < y.Length; i++) sums[i % width] += y[i];
        Assert.That(DoublePrecision.Error(Read(tb), sums), Is.LessThan(Tolerance));
        Backend.AddBias(Upload(b, width), ty);
        Assert.That(Read(ty), Is.EqualTo(y.Select((v, i) => v + b[i % width]).ToArray()));
    }

    [Test]
    public void Norm_and_its_gradient([Values(24, 36, 100)] int h, [Values(1, 5, 64)] int t, [Values(0, 3)] int chunk)
    {
        const int samples = 2;
        const float epsilon = 1e-5f;
        var (x, modulation, gradient) = (_random.Values(samples * t * h, 3), _random.Values(samples * 6 * h), _random.Values(samples * t * h));
        foreach (ref var value in x.AsSpan()) value += 1;
        var (dx, dm, dy) = (DoublePrecision.Of(x), DoublePrecision.Of(modulation), DoublePrecision.Of(gradient));
        var (tx, tm, ty) = (Upload(x, samples, t, h), Upload(modulation, samples, 6 * h), Empty(samples, t, h));
        Backend.NormModulateForward(tx, tm, chunk, epsilon, ty);
        Check(ty, Forward(), "y");

        var before = _random.Values(x.Length);
        var (inputGradient, modulationGradient) = (Upload(before, samples, t, h), Upload(modulation, samples, 6 * h));
        Backend.NormModulateGradient(Upload(gradient, samples, t, h), tx, tm, chunk, epsilon, inputGradient, modulationGradient);
        var stride = Spread(x.Length);
        CheckDifferences(Subtract(Read(inputGradient), before), dx, () => DoublePrecision.Dot(Forward(), dy), stride, "∂x");
        var actual = Read(modulationGradient);
        var modulationStride = Spread(dm.Length);
        var expected = DoublePrecision.Differences(dm, () => DoublePrecision.Dot(Forward(), dy), modulationStride);
        // The other chunks are not this operation's.
        for (var i = 0; i < dm.Length; i++)
        {
            if (i % (6 * h) / h - chunk is 0 or 1) continue;
            Assert.That(actual[i], Is.EqualTo(modulation[i]));
            actual[i] = 0;
        }

        Assert.That(DoublePrecision.Error(actual, expected, modulationStride), Is.LessThan(Tolerance), "∂modulation");

        double[] Forward() => DoublePrecision.NormModulate(dx, dm, chunk, epsilon, samples, t, h);
    }

    [Test]
    public void Attention_and_its_gradient([Values(24, 36, 96)] int h, [Values(1, 5, 64)] int t, [Values(1, 3)] int heads)
    {
        const int samples = 2;
        var (qkv, gradient) = (_random.Values(samples * t * 3 * h, 2), _random.Values(samples * t * h));
        var (dqkv, dy) = (DoublePrecision.Of(qkv), DoublePrecision.Of(gradient));
        var (tqkv, ty, inputGradient) = (Upload(qkv, samples, t, 3 * h), Empty(samples, t, h), Upload(qkv, samples, t, 3 * h));
        Backend.AttentionForward(tqkv, heads, ty);
        Check(ty, Forward(), "y");
        Backend.AttentionGradient(Upload(gradient, samples, t, h), tqkv, heads, inputGradient);
        CheckDifferences(Read(inputGradient), dqkv, () => DoublePrecision.Dot(Forward(), dy), Spread(qkv.Length), "∂qkv");

        double[] Forward() => DoublePrecision.Attention(dqkv, heads, samples, t, h);
    }

    [Test]
    public void Attention_of_one_sharp_score_stays_finite()
    {
        const int t = 20, h = 24;
        var qkv = _random.Values(t * 3 * h, 60);
        var (dqkv, gradient) = (DoublePrecision.Of(qkv), _random.Values(t * h));
        var inputGradient = Empty(1, t, 3 * h);
        Backend.AttentionGradient(Upload(gradient, 1, t, h), Upload(qkv, 1, t, 3 * h), 1, inputGradient);
        // Scores of some thousands are rounded by 1e-4 in fp32, and the softmax with them.
        var stride = Spread(qkv.Length);
        var expected = DoublePrecision.Differences(dqkv, () => DoublePrecision.Dot(DoublePrecision.Attention(dqkv, 1, 1, t, h), DoublePrecision.Of(gradient)), stride);
        Assert.That(DoublePrecision.Error(Read(inputGradient), expected, stride), Is.LessThan(1e-3));
    }

    [Test]
    public void Gelu_and_its_gradient([Values(1, 15, 8200)] int count, [Values] bool inPlace)
    {
        var (x, gradient) = (_random.Values(count, 12), _random.Values(count));
        var (tx, ty, tg) = (Upload(x, count), Empty(count), Upload(gradient, count));
        Backend.GeluForward(tx, ty);
        Check(ty, DoublePrecision.Gelu(DoublePrecision.Of(x)), "y");
        var result = inPlace ? tg : ty;
        Backend.GeluGradient(tg, tx, result);
        var expected = x.Select((v, i) => gradient[i] * (DoublePrecision.Gelu([v + 1e-5])[0] - DoublePrecision.Gelu([v - 1e-5])[0]) / 2e-5).ToArray();
        Check(result, expected, "∂x");
    }

    [Test]
    public void Gelu_is_flat_far_out()
    {
        var (x, y) = (Upload([-1e4f, -88, -20, 20, 88, 1e4f], 6), Empty(6));
        Backend.GeluGradient(Upload([1, 1, 1, 1, 1, 1], 6), x, y);
        Assert.That(Read(y), Is.EqualTo(new float[] { 0, 0, 0, 1, 1, 1 }).Within(1e-6));
    }

    [Test]
    public void Gate_and_its_gradient([Values(24, 36, 100, 300)] int h, [Values(1, 5, 64)] int t, [Values(2, 5)] int chunk)
    {
        const int samples = 2;
        var (x, y) = (_random.Values(samples * t * h), _random.Values(samples * t * h));
        var (modulation, gradient) = (_random.Values(samples * 6 * h), _random.Values(samples * t * h));
        var (tx, ty, tm) = (Upload(x, samples, t, h), Upload(y, samples, t, h), Upload(modulation, samples, 6 * h));
        Backend.GateForward(ty, tm, chunk, tx);
        Check(tx, DoublePrecision.Gate(DoublePrecision.Of(x), DoublePrecision.Of(y), DoublePrecision.Of(modulation), chunk, samples, t, h), "x");

        var (inputGradient, modulationGradient) = (Empty(samples, t, h), Upload(modulation, samples, 6 * h));
        Backend.GateGradient(Upload(gradient, samples, t, h), ty, tm, chunk, inputGradient, modulationGradient);
        var (byInput, byGate) = (new double[y.Length], DoublePrecision.Of(modulation));
        for (var sample = 0; sample < samples; sample++) byGate.AsSpan((sample * 6 + chunk) * h, h).Clear();
        for (var i = 0; i < y.Length; i++)
        {
            var gate = (i / (t * h) * 6 + chunk) * h + i % h;
            byInput[i] = (double)gradient[i] * modulation[gate];
            byGate[gate] += (double)gradient[i] * y[i];
        }

        Check(inputGradient, byInput, "∂y");
        Check(modulationGradient, byGate, "∂gate");
    }

    [Test]
    public void Squared_error_and_its_gradient([Values(1, 100, 8192, 20_005)] int count)
    {
        var (x, target, before) = (_random.Values(count), _random.Values(count), _random.Values(count));
        var gradient = Upload(before, count);
        var sum = Backend.SquaredErrorGradient(Upload(x, count), Upload(target, count), 0.75f, gradient);
        var errors = x.Zip(target, (a, b) => (double)a - b).ToArray();
        // Differences are rounded to fp32 once; the sum is one of fp64.
        Assert.That(sum, Is.EqualTo(DoublePrecision.Dot(errors, errors)).Within(1e-6).Percent);
        Check(gradient, before.Zip(errors, (b, e) => b + 1.5 * e).ToArray(), "∂x");
    }

    [Test]
    public void Copy_copies_and_clear_clears()
    {
        var values = _random.Values(37);
        var (from, to) = (Upload(values, 37), Empty(37));
        Backend.Copy(from, to);
        Backend.Clear(from);
        Assert.That(Read(to), Is.EqualTo(values));
        Assert.That(Read(from), Is.All.Zero);
    }

    [Test]
    public void Tensors_that_do_not_fit_are_named()
    {
        var (x, y, modulation) = (Empty(2, 3, 8), Empty(2, 3, 4), Empty(2, 16));
        Assert.Multiple(() =>
        {
            Refused("right", () => Backend.Multiply(LinearProduct.Output, x, Empty(5, 4), Empty(6, 5)));
            Refused("result", () => Backend.Multiply(LinearProduct.WeightGradient, x, x, Empty(8, 9)));
            Refused("output", () => Backend.Multiply(LinearProduct.InputGradient, x, Empty(8, 8), x));
            Refused("bias", () => Backend.AddBias(Empty(4), x));
            Refused("biasGradient", () => Backend.BiasGradient(x, Empty(4)));
            Refused("y", () => Backend.NormModulateForward(x, modulation, 0, 1e-6f, y));
            Refused("modulation", () => Backend.NormModulateForward(x, modulation, 1, 1e-6f, Empty(2, 3, 8)));
            Refused("modulationGradient", () => Backend.NormModulateGradient(x, Empty(2, 3, 8), modulation, 0, 1e-6f, Empty(2, 3, 8), Empty(1, 16)));
            Refused("qkv", () => Backend.AttentionForward(x, 3, Empty(2, 3, 2)));
            Refused("inputGradient", () => Backend.AttentionGradient(Empty(2, 3, 8), Empty(2, 3, 24), 1, x));
            Refused("y", () => Backend.GeluForward(x, y));
            Refused("inputGradient", () => Backend.GeluGradient(x, x, y));
            Refused("modulation", () => Backend.GateForward(x, modulation, 2, Empty(2, 3, 8)));
            Refused("sumGradient", () => Backend.GateGradient(y, x, modulation, 0, Empty(2, 3, 8), Empty(2, 16)));
            Refused("target", () => Backend.SquaredErrorGradient(x, y, 1, Empty(2, 3, 8)));
            Refused("destination", () => Backend.Copy(x, y));
        });

        static void Refused(string name, Action operation) =>
            Assert.That(Assert.Throws<ArgumentException>(operation.Invoke)!.ParamName, Is.EqualTo(name));
    }

    private void CheckProducts(int m, int n, int k, bool adds)
    {
        var (x, w, gradient) = (_random.Values(m * k), _random.Values(n * k), _random.Values(m * n));
        var (tx, tw, tg) = (Upload(x, m, k), Upload(w, n, k), Upload(gradient, m, n));
        Check(LinearProduct.Output, tx, tw, DoublePrecision.Linear(DoublePrecision.Of(x), DoublePrecision.Of(w), null, m, n, k), m, n);
        var (byInput, byWeight) = (new double[m * k], new double[n * k]);
        for (var i = 0; i < m; i++)
            for (var j = 0; j < n; j++)
                for (var l = 0; l < k; l++)
                {
                    byInput[i * k + l] += (double)gradient[i * n + j] * w[j * k + l];
                    byWeight[j * k + l] += (double)gradient[i * n + j] * x[i * k + l];
                }

        Check(LinearProduct.InputGradient, tg, tw, byInput, m, k);
        Check(LinearProduct.WeightGradient, tg, tx, byWeight, n, k);

        void Check(LinearProduct product, Tensor left, Tensor right, double[] expected, int rows, int columns)
        {
            var before = _random.Values(rows * columns);
            var result = Upload(before, rows, columns);
            Backend.Multiply(product, left, right, result, adds);
            if (adds)
                for (var i = 0; i < expected.Length; i++)
                    expected[i] += before[i];
            this.Check(result, expected, product.ToString());
        }
    }

    private void Check(Tensor actual, double[] expected, string what) => Assert.That(DoublePrecision.Error(Read(actual), expected), Is.LessThan(Tolerance), what);

    private static void CheckDifferences(float[] actual, double[] at, Func<double> f, int stride, string what) =>
        Assert.That(DoublePrecision.Error(actual, DoublePrecision.Differences(at, f, stride), stride), Is.LessThan(Tolerance), what);

    /// <summary>A step by which some sixty values are met, at changing places of rows of even length.</summary>
    private static int Spread(int count) => (count / 60) | 1;

    private static float[] Subtract(float[] a, float[] b) => [.. a.Zip(b, (x, y) => x - y)];

    private Tensor Empty(params ReadOnlySpan<int> shape)
    {
        var tensor = Backend.Allocate(ElementType.F32, shape);
        _tensors.Add(tensor);
        return tensor;
    }

    private Tensor Upload(float[] values, params ReadOnlySpan<int> shape)
    {
        var tensor = Empty(shape);
        Backend.Upload<float>(values, tensor);
        return tensor;
    }

    private float[] Read(Tensor tensor)
    {
        var values = new float[tensor.Count];
        Backend.Download<float>(tensor, values);
        return values;
    }
}

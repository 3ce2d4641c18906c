using System.Globalization;
using DiTRuntime.Sampling;

namespace DiTRuntime.Tests.Sampling;

internal sealed class TorchGeneratorTests
{
    private static readonly GoldenTensors s_golden = GoldenTensors.Load(TestFiles.Golden("noise.safetensors"));

    private static IEnumerable<string> SingleDraws => s_golden.Names.Where(n => n.StartsWith("randn.", StringComparison.Ordinal) && !n.Contains("sequence", StringComparison.Ordinal));

    [TestCaseSource(nameof(SingleDraws))]
    public void Normals_match_PyTorch(string name)
    {
        var expected = s_golden.F32(name);
        var actual = new float[expected.Length];
        new TorchGenerator(ulong.Parse(name.Split('.')[1]["seed".Length..], CultureInfo.InvariantCulture)).Normal(actual);
        AssertNormals(actual, expected);
    }

    [Test]
    public void Draws_of_short_and_long_tensors_follow_each_other_as_in_PyTorch()
    {
        var generator = new TorchGenerator(3);
        foreach (var part in "abc")
        {
            var expected = s_golden.F32($"randn.seed3.sequence_{part}");
            var actual = new float[expected.Length];
            generator.Normal(actual);
            AssertNormals(actual, expected);
        }
    }

    [Test]
    public void Cached_normal_survives_a_long_draw()
    {
        var pair = new float[2];
        new TorchGenerator(9).Normal(pair);
        var generator = new TorchGenerator(9);
        var single = new float[1];
        generator.Normal(single);
        generator.Normal(new float[32]);
        generator.Normal(single);
        Assert.That(single[0], Is.EqualTo(pair[1]));
    }

    [Test]
    public void Uniforms_match_PyTorch_to_the_bit()
    {
        var expected = s_golden.F32("rand.seed5.40");
        var actual = new float[expected.Length];
        new TorchGenerator(5).Uniform(actual);
        Assert.That(actual, Is.EqualTo(expected));
    }

    [Test]
    public void Integers_match_PyTorch()
    {
        var generator = new TorchGenerator(6);
        var expected = s_golden.I64("randint1000.seed6.20");
        Assert.That(expected.Select(_ => (long)generator.NextInt(1000)), Is.EqualTo(expected));
    }

    [Test]
    public void Output_is_MT19937()
    {
        // The 10,000th output after the standard seed, as the C++ standard requires of std::mt19937.
        var generator = new TorchGenerator(5489);
        for (var i = 1; i < 10_000; i++) generator.NextUInt32();
        Assert.That(generator.NextUInt32(), Is.EqualTo(4123659995));
    }

    [Test]
    public void Reseeding_starts_over()
    {
        float[] first = new float[3], second = new float[3];
        var generator = new TorchGenerator(1);
        generator.Normal(first);
        generator.Reseed(1);
        generator.Normal(second);
        Assert.That(second, Is.EqualTo(first));
    }

    [Test]
    public void Integers_below_zero_bound_are_refused() =>
        Assert.That(() => new TorchGenerator(1).NextInt(0), Throws.TypeOf<ArgumentOutOfRangeException>());

    [Test]
    public void Drawing_allocates_nothing()
    {
        var generator = new TorchGenerator(1);
        var values = new float[4099];
        generator.Normal(values);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 10; i++)
        {
            generator.Normal(values);
            generator.Normal(values.AsSpan(0, 5));
            generator.Reseed((ulong)i);
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    private static void AssertNormals(float[] actual, float[] expected)
    {
        // PyTorch evaluates 16 values and more with single-precision approximations, fewer with the C library in double.
        if (expected.Length < 16) Assert.That(actual, Is.EqualTo(expected));
        else Assert.That(actual, Is.EqualTo(expected).Within(1e-6f));
    }
}

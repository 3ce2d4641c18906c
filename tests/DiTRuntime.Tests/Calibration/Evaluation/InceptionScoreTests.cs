using DiTRuntime.Calibration.Evaluation;

namespace DiTRuntime.Tests.Calibration.Evaluation;

public sealed class InceptionScoreTests
{
    [Test]
    public void Certain_and_even_classes_score_their_number()
    {
        var logits = new float[40];
        for (var i = 0; i < 8; i++) logits[i * 5 + i % 4] = 100;
        Assert.That(InceptionScore.Of(logits, 5), Is.EqualTo(4).Within(1e-12));
    }

    [Test]
    public void Images_that_all_look_alike_score_1() => Assert.That(InceptionScore.Of(new float[30], 3), Is.EqualTo(1).Within(1e-12));

    [Test]
    public void Agrees_with_the_definition_split_by_split()
    {
        var random = new Random(5);
        var logits = Enumerable.Range(0, 11 * 6).Select(_ => (float)(random.NextDouble() * 4)).ToArray();
        var probabilities = logits.Chunk(6).Select(row => row.Select(v => Math.Exp(v) / row.Sum(x => Math.Exp(x))).ToArray()).ToArray();
        var expected = probabilities.Chunk(4).Average(split =>
        {
            var marginal = Enumerable.Range(0, 6).Select(c => split.Average(p => p[c])).ToArray();
            return Math.Exp(split.Average(p => p.Select((v, c) => v * (Math.Log(v) - Math.Log(marginal[c]))).Sum()));
        });
        Assert.That(InceptionScore.Of(logits, 6, splitSize: 4), Is.EqualTo(expected).Within(1e-12));
    }
}

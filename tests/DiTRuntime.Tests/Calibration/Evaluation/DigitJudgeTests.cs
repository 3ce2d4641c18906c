using DiTRuntime.Calibration.Evaluation;
using DiTRuntime.Imaging;
using DiTRuntime.Tests.Models;

namespace DiTRuntime.Tests.Calibration.Evaluation;

public sealed class DigitJudgeTests
{
    private readonly DigitJudge _judge = new();

    [OneTimeTearDown]
    public void EndJudge() => _judge.Dispose();

    [Test]
    public void Scores_agree_with_the_obvious_classifier()
    {
        var naive = new NaiveDigitJudge();
        var random = new Random(1);
        var (features, scores) = (new float[64], new float[10]);
        for (var i = 0; i < 5; i++)
        {
            var image = Enumerable.Range(0, 1024).Select(_ => (float)random.NextDouble() * 2 - 1).ToArray();
            _judge.Judge(image, features, scores);
            Assert.That(scores, Is.EqualTo(naive.Scores(image)).Within(1e-4));
            Assert.That(_judge.Classify(image), Is.EqualTo(naive.Classify(image)));
        }
    }

    [Test]
    public void The_statistics_of_real_digits_are_those_of_a_covariance()
    {
        var statistics = _judge.RealDigits;
        Assert.That(statistics.FeatureCount, Is.EqualTo(64));
        Assert.That(FrechetDistance.Between(statistics, statistics), Is.EqualTo(0).Within(1e-4));
        Assert.That(SymmetricEigen.ValuesOf(statistics.Covariance, 64), Is.All.GreaterThan(-1e-9));
    }

    [Test]
    public void Grey_and_rgb_of_the_same_image_are_the_same_to_it()
    {
        var grey = Imaging.TestImages.Make(32, 32, 1);
        var rgb = new Image(32, 32, 3, [.. grey.Pixels.SelectMany(v => new[] { v, v, v })]);
        var (features, logits) = (new float[128], new float[20]);
        _judge.Extract([grey, rgb], features, [], logits);
        var ofGrey = features[..64];
        Assert.That(features[64..], Is.EqualTo(ofGrey));
    }

    [Test]
    public void Other_sizes_are_refused() => Assert.That(
        () => _judge.Extract([Imaging.TestImages.Make(31, 32, 1)], new float[64], [], new float[10]),
        Throws.TypeOf<UsageException>().With.Message.Contains("31x32"));
}

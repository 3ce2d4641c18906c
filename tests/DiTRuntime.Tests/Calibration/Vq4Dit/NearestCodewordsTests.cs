using DiTRuntime.Calibration.Vq4Dit;

namespace DiTRuntime.Tests.Calibration.Vq4Dit;

internal sealed class NearestCodewordsTests
{
    [TestCase(1, 2, 1)]
    [TestCase(7, 3, 7)]
    [TestCase(8, 4, 2)]
    [TestCase(17, 8, 4)]
    [TestCase(256, 4, 3)]
    public void Are_those_that_sorting_finds(int count, int length, int wanted)
    {
        var random = new Random(count);
        var codewords = Enumerable.Range(0, count * length).Select(_ => random.NextSingle()).ToArray();
        var search = new NearestCodewords(codewords, length);
        var scratch = new float[search.ScratchLength];
        var codes = new ushort[wanted];
        for (var trial = 0; trial < 50; trial++)
        {
            var vector = Enumerable.Range(0, length).Select(_ => random.NextSingle()).ToArray();
            search.Find(vector, scratch, codes);

            var sorted = Enumerable.Range(0, count).OrderBy(c => Enumerable.Range(0, length).Sum(i => Math.Pow(vector[i] - (double)codewords[c * length + i], 2)));
            Assert.That(codes, Is.EqualTo(sorted.Take(wanted).Select(c => (ushort)c)));
        }
    }

    [Test]
    public void Of_equals_the_first_comes_first()
    {
        var search = new NearestCodewords([1, 1, 0, 0, 1, 1, 0, 0], 2);
        var codes = new ushort[3];

        search.Find([0, 0], new float[search.ScratchLength], codes);

        Assert.That(codes, Is.EqualTo(new ushort[] { 1, 3, 0 }));
    }
}

using DiTRuntime.Serving;

namespace DiTRuntime.Tests.Serving;

public sealed class ImageRateTests
{
    [Test]
    public void Images_count_for_half_a_minute()
    {
        var time = new ManualTime();
        var rate = new ImageRate(time);
        Assert.That(rate.PerSecond, Is.Zero);
        time.Advance(TimeSpan.FromSeconds(10));
        for (var i = 0; i < 20; i++) rate.ImageFinished();
        Assert.That(rate.PerSecond, Is.EqualTo(2).Within(1e-9));
        time.Advance(TimeSpan.FromSeconds(20));
        rate.ImageFinished();
        Assert.That(rate.PerSecond, Is.EqualTo(0.7).Within(1e-9));
        time.Advance(TimeSpan.FromSeconds(11));
        Assert.That(rate.PerSecond, Is.EqualTo(1 / 30.0).Within(1e-9));
        time.Advance(TimeSpan.FromDays(30));
        Assert.That(rate.PerSecond, Is.Zero);
    }
}

using System.Runtime.Intrinsics;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Quantization;

public sealed class ErrorPowerTests
{
    [Test]
    public void The_power_is_right_to_two_parts_in_a_hundred_thousand()
    {
        for (var x = 1e-15f; x < 1e15f; x *= 1.003f)
            Assert.That(ErrorPower.Of(Vector256.Create(x))[3], Is.EqualTo(Math.Pow(x, 2.4)).Within(0.0025).Percent, $"{x}");
    }

    [TestCase(0f, 0.0)]
    [TestCase(float.Epsilon, 0.0)]
    [TestCase(1f, 1.0)]
    public void Ends_are_what_they_should_be(float x, double expected) => Assert.That(ErrorPower.Of(Vector256.Create(x))[0], Is.EqualTo(expected).Within(1e-30));

    [Test]
    public void What_is_too_large_stays_the_largest() => Assert.That(ErrorPower.Of(Vector256.Create(float.MaxValue))[0], Is.GreaterThan(1e38f));
}

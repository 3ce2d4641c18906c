using DiTRuntime.Cli.Generation;

namespace DiTRuntime.Tests.Cli;

public sealed class ImageSinksTests
{
    [TestCase(1, 1)]
    [TestCase(3, 3)]
    [TestCase(8, 4)]
    [TestCase(9, 3)]
    [TestCase(10, 5)]
    [TestCase(11, 4)]
    [TestCase(60, 10)]
    [TestCase(100, 10)]
    [TestCase(101, 11)]
    public void A_sheet_is_wide_and_without_gaps_where_that_can_be(int count, int columns) => Assert.That(ImageSinks.SheetColumns(count), Is.EqualTo(columns));
}

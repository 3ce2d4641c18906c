using DiTRuntime.Imaging;

namespace DiTRuntime.Tests.Imaging;

internal sealed class ImageGridTests
{
    [Test]
    public void Images_stand_row_by_row_with_gaps_between_and_around()
    {
        var sheet = ImageGrid.Compose([Flat(1), Flat(2), Flat(3)], columns: 2, padding: 1, background: 9);
        Assert.That((sheet.Width, sheet.Height), Is.EqualTo((7, 5)));
        Assert.That(sheet.Pixels, Is.EqualTo(new byte[]
        {
            9, 9, 9, 9, 9, 9, 9,
            9, 1, 1, 9, 2, 2, 9,
            9, 9, 9, 9, 9, 9, 9,
            9, 3, 3, 9, 9, 9, 9,
            9, 9, 9, 9, 9, 9, 9,
        }));
    }

    [Test]
    public void Channels_stay_together()
    {
        var sheet = ImageGrid.Compose([new Image(1, 1, 3, [1, 2, 3]), new Image(1, 1, 3, [4, 5, 6])], columns: 8, padding: 0);
        Assert.That(sheet.Pixels, Is.EqualTo(new byte[] { 1, 2, 3, 4, 5, 6 }));
    }

    [Test]
    public void The_published_grid_has_gaps_of_two_black_pixels()
    {
        var sheet = ImageGrid.Compose([.. Enumerable.Repeat(TestImages.Make(32, 32, 1), 8)], columns: 4);
        Assert.That((sheet.Width, sheet.Height, sheet.Pixels[0]), Is.EqualTo((4 * 34 + 2, 2 * 34 + 2, 0)));
    }

    [Test]
    public void A_single_image_stays_as_it_is()
    {
        var image = TestImages.Make(4, 4, 3);
        Assert.That(ImageGrid.Compose([image], 4), Is.SameAs(image));
    }

    [Test]
    public void Unequal_or_missing_images_are_refused()
    {
        Assert.That(() => ImageGrid.Compose([], 4), Throws.ArgumentException);
        Assert.That(() => ImageGrid.Compose([TestImages.Make(4, 4, 3), TestImages.Make(4, 4, 1)], 4), Throws.ArgumentException);
    }

    private static Image Flat(byte value) => new(2, 1, 1, [value, value]);
}

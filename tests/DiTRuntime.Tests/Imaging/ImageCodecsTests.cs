using System.Diagnostics;
using DiTRuntime.Imaging;

namespace DiTRuntime.Tests.Imaging;

internal sealed class ImageCodecsTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    [TestCase("a.png")]
    [TestCase("a.PNG")]
    public void The_extension_chooses_the_codec(string name) =>
        Assert.That(ImageCodecs.ForPath(name).Extensions, Does.Contain(".png"));

    [Test]
    public void Unknown_extensions_are_refused_with_what_this_build_writes() =>
        Assert.That(() => ImageCodecs.ForPath("a.tiff"), Throws.TypeOf<UsageException>()
            .With.Message.EqualTo($"a.tiff: .tiff is not an image format of this build; expected {string.Join(", ", ImageCodecs.Extensions)}"));

    [Test]
    public void An_existing_file_is_replaced()
    {
        File.WriteAllText(_folder["a.png"], "old");
        ImageCodecs.Save(_folder["a.png"], TestImages.Make(3, 3, 1));
        Assert.That(PngReader.ReadPixels(_folder["a.png"]).Width, Is.EqualTo(3));
        Assert.That(Directory.GetFiles(_folder.Path), Has.Length.EqualTo(1));
    }

    [Test]
    public void Paths_that_cannot_be_written_are_refused_and_nothing_is_left()
    {
        File.WriteAllText(_folder["file"], "");
        Assert.That(() => ImageCodecs.Save(_folder["file/a.png"], TestImages.Make(3, 3, 1)), Throws.TypeOf<OutputException>());
        Assert.That(() => ImageCodecs.Save(_folder["absent/a.png"], TestImages.Make(3, 3, 1)), Throws.TypeOf<OutputException>());
        Directory.CreateDirectory(_folder["folder.png"]);
        Assert.That(() => ImageCodecs.Save(_folder["folder.png"], TestImages.Make(3, 3, 1)), Throws.TypeOf<OutputException>());
        Assert.That(Directory.GetFileSystemEntries(_folder.Path).Select(Path.GetFileName), Is.EquivalentTo(new[] { "file", "folder.png" }));
    }

    [Test]
    public void A_full_disk_is_reported_and_leaves_what_was_there()
    {
        var disk = Directory.CreateDirectory(_folder["disk"]).FullName;
        if (Run("mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", disk) != 0) Assert.Ignore("mounting a small disk takes privileges this machine does not give");
        try
        {
            var path = Path.Combine(disk, "a.png");
            ImageCodecs.Save(path, TestImages.Make(8, 8, 1));
            var noise = new byte[256 * 256];
            new Random(1).NextBytes(noise);
            Assert.That(() => ImageCodecs.Save(path, new Image(256, 256, 1, noise)), Throws.TypeOf<OutputException>().With.Message.StartsWith(path));
            Assert.That(Directory.GetFiles(disk), Is.EqualTo(new[] { path }));
            Assert.That(PngReader.ReadPixels(path).Width, Is.EqualTo(8));
        }
        finally
        {
            Assert.That(Run("umount", disk), Is.Zero);
        }
    }

    private static int Run(string program, params string[] arguments)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
            process.WaitForExit();
            return process.ExitCode;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return -1;
        }
    }
}

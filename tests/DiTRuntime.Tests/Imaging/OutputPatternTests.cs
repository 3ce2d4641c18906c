using DiTRuntime.Imaging;

namespace DiTRuntime.Tests.Imaging;

internal sealed class OutputPatternTests
{
    private static readonly OutputImage[] s_images = [new(0, 7, 207), new(1, 8, 360), new(2, 9, 207)];

    [TestCase("out.png", "out.png,out_2.png,out_3.png")]
    [TestCase("a.b/out.v1.PNG", "a.b/out.v1.PNG,a.b/out.v1_2.PNG,a.b/out.v1_3.PNG")]
    [TestCase("samples/", "samples/000000.png,samples/000001.png,samples/000002.png")]
    [TestCase("samples", "samples/000000.png,samples/000001.png,samples/000002.png")]
    [TestCase("{index}.png", "0.png,1.png,2.png")]
    [TestCase("{index:03d}-{class}-{seed:2d}.png", "000-207-07.png,001-360-08.png,002-207-09.png")]
    [TestCase("img%03d.png", "img000.png,img001.png,img002.png")]
    [TestCase("img%d.png", "img0.png,img1.png,img2.png")]
    [TestCase("100%.png", "100%.png,100%_2.png,100%_3.png")]
    [TestCase("{class}/{index}.png", "207/0.png,360/1.png,207/2.png")]
    [TestCase("{class}/", "207/000000.png,360/000001.png,207/000002.png")]
    public void Names_follow_the_pattern(string output, string expected) =>
        Assert.That(OutputPattern.Parse(output).PathsOf(s_images), Is.EqualTo(expected.Split(',')));

    [Test]
    public void An_existing_folder_is_a_folder_whatever_its_name()
    {
        using var folder = new TemporaryFolder();
        var named = Directory.CreateDirectory(folder["run.png"]).FullName;
        Assert.That(OutputPattern.Parse(named).PathOf(s_images[1]), Is.EqualTo(Path.Combine(named, "000001.png")));
    }

    [Test]
    public void Names_count_from_the_whole_run_in_a_shard() =>
        Assert.That(OutputPattern.Parse("o.png").PathOf(new OutputImage(41, 0, 0)), Is.EqualTo("o_42.png"));

    [Test]
    public void Images_that_would_share_a_path_are_refused() =>
        Assert.That(() => OutputPattern.Parse("{class}.png").PathsOf(s_images), Throws.TypeOf<UsageException>()
            .With.Message.EqualTo("--out {class}.png: images 0 and 2 would both be 207.png; add {index}"));

    [TestCase("{idx}.png", "unknown field {idx}")]
    [TestCase("{index:x}.png", "unknown field {index:x}")]
    [TestCase("%3d.png", "unknown field %3d")]
    [TestCase("out.bmp", ".bmp is not an image format of this build")]
    [TestCase("{index}", "no file extension; expected .png")]
    [TestCase(" ", "no name")]
    public void Names_that_make_no_sense_are_refused(string output, string problem) =>
        Assert.That(() => OutputPattern.Parse(output), Throws.TypeOf<UsageException>().With.Message.Contains(problem));

    [TestCase("out.png", true)]
    [TestCase("{index}.png", false)]
    [TestCase("{class}/out.png", false)]
    [TestCase("out", false)]
    public void Only_a_plain_name_is_one_file(string output, bool expected) =>
        Assert.That(OutputPattern.Parse(output).IsPlainFile, Is.EqualTo(expected));

    [Test]
    public void Folders_of_the_run_are_made_and_others_must_exist()
    {
        using var folder = new TemporaryFolder();
        Prepare(folder["new/samples"]);
        Assert.That(folder["new/samples"], Does.Exist);
        Assert.That(Directory.GetFileSystemEntries(folder["new/samples"]), Is.Empty);
        Assert.That(() => Prepare(folder["absent/out.png"]), Throws.TypeOf<OutputException>().With.Message.Contains("no such folder"));
        File.WriteAllText(folder["file"], "");
        Assert.That(() => Prepare(folder["file/out.png"]), Throws.TypeOf<OutputException>());
        Assert.That(() => Prepare(folder["file/deeper/"]), Throws.TypeOf<OutputException>());

        static void Prepare(string output)
        {
            var pattern = OutputPattern.Parse(output);
            pattern.Prepare(pattern.PathsOf(s_images));
        }
    }
}

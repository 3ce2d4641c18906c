using System.IO.Compression;
using System.Runtime.InteropServices;
using DiTRuntime.Calibration.Dpq;
using DiTRuntime.Imaging;
using DiTRuntime.Models;
using DiTRuntime.Tests.Calibration.Evaluation;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Calibration.Dpq;

internal sealed class TrainingDataTests
{
    private static readonly DiTConfig s_pixels = new()
    {
        InputSize = 4, PatchSize = 2, InChannels = 3, OutChannels = 6, HiddenSize = 8, Depth = 1, HeadCount = 1, MlpSize = 32, ClassCount = 10,
    };

    private static readonly DiTConfig s_latents = s_pixels with { InChannels = 4, OutChannels = 8 };

    private TemporaryFolder _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    [TestCase("x", "y")]
    [TestCase("images", "labels")]
    [TestCase("arr_0", "arr_1")]
    public void Images_become_minus_one_to_one_channels_first(string samples, string labels)
    {
        var bytes = Enumerable.Range(0, 2 * 48).Select(i => (byte)(i * 2)).ToArray();
        var first = TrainingData.Load(Archive((samples, Npy("|u1", "(2, 3, 4, 4)", bytes)), (labels, Labels(3, 9))), s_pixels);
        var last = TrainingData.Load(Archive((samples, Npy("|u1", "(2, 4, 4, 3)", bytes)), (labels, Labels(3, 9))), s_pixels);

        Assert.That(first.Count, Is.EqualTo(2));
        Assert.That(first.LabelOf(1), Is.EqualTo(9));
        for (var sample = 0; sample < 2; sample++)
        {
            for (var i = 0; i < 48; i++)
            {
                Assert.That(first.Sample(sample)[i], Is.EqualTo(bytes[sample * 48 + i] / 127.5 - 1).Within(1e-6));
                Assert.That(last.Sample(sample)[i], Is.EqualTo(bytes[sample * 48 + i % 16 * 3 + i / 16] / 127.5 - 1).Within(1e-6));
            }
        }
    }

    [Test]
    public void Latents_are_taken_as_they_are()
    {
        var values = Enumerable.Range(0, 128).Select(i => i / 16f - 3).ToArray();

        var data = TrainingData.Load(Archive(("latents", Floats("(2, 4, 4, 4)", values)), ("labels", Labels(0, 1))), s_latents);

        Assert.That(data.Sample(1).ToArray(), Is.EqualTo(values[64..]));
    }

    [Test]
    public void A_folder_of_files_with_a_list_is_read_too()
    {
        var image = TestImages.Make(4, 4, 3);
        ImageCodecs.Save(_folder["a.png"], image);
        var values = Enumerable.Range(0, 48).Select(i => i / 16f).ToArray();
        File.WriteAllBytes(_folder["b.npy"], Floats("(1, 3, 4, 4)", values));
        File.WriteAllText(_folder["labels.txt"], "b.npy 4\n\na.png 7\n");

        var data = TrainingData.Load(_folder.Path, s_pixels);

        Assert.That((data.Count, data.LabelOf(0), data.LabelOf(1)), Is.EqualTo((2, 4, 7)));
        Assert.That(data.Sample(0).ToArray(), Is.EqualTo(values));
        Assert.That(data.Sample(1)[17], Is.EqualTo(image.Pixels[3 + 1] / 127.5 - 1).Within(1e-6));
    }

    [TestCase("x", "|u1", "(2, 3, 4, 5)", 120, "x", "[3,4,5]", "[3,4,4]")]
    [TestCase("x", "|u1", "(3, 3, 4, 4)", 144, "x", "2 samples")]
    [TestCase("x", "|u1", "()", 1, "x", "2 samples")]
    [TestCase("pictures", "|u1", "(2, 3, 4, 4)", 96, "no array of samples", "pictures")]
    public void Samples_that_do_not_fit_are_refused(string name, string type, string shape, int bytes, params string[] expected) =>
        AssertRefused(s_pixels, expected, (name, Npy(type, shape, new byte[bytes])), ("y", Labels(0, 1)));

    [Test]
    public void Values_that_are_not_finite_are_refused()
    {
        var values = new float[2 * 48];
        values[50] = float.NaN;
        AssertRefused(s_pixels, ["array x", "NaN", "element 50"], ("x", Floats("(2, 3, 4, 4)", values)), ("y", Labels(0, 1)));
    }

    [TestCase(10, "array y", "10", "element 1", "0 to 9")]
    [TestCase(-1, "array y", "-1", "element 1", "0 to 9")]
    public void Labels_that_are_no_classes_are_refused(int label, params string[] expected) =>
        AssertRefused(s_pixels, expected, ("x", Npy("|u1", "(2, 3, 4, 4)", new byte[96])), ("y", Labels(0, label)));

    [Test]
    public void Missing_labels_and_empty_sets_are_refused()
    {
        AssertRefused(s_pixels, ["no array of labels", "found x"], ("x", Npy("|u1", "(2, 3, 4, 4)", new byte[96])));
        AssertRefused(s_pixels, ["no samples"], ("x", Npy("|u1", "(0, 3, 4, 4)", [])), ("y", Npy("<i8", "(0,)", [])));
        AssertRefused(s_pixels, ["array y", "[1,2]"], ("x", Npy("|u1", "(2, 3, 4, 4)", new byte[96])), ("y", Npy("<i8", "(1, 2)", new byte[16])));
    }

    [Test]
    public void Pixels_for_a_model_of_latents_are_refused() =>
        AssertRefused(s_latents, ["array x", "bytes", "latents of 4 channels"], ("x", Npy("|u1", "(2, 4, 4, 4)", new byte[128])), ("y", Labels(0, 1)));

    [TestCase("a.png seven", "line 1")]
    [TestCase("a.png 11", "11", "0 to 9")]
    [TestCase("../a.png 1", "not in the folder")]
    [TestCase("a.png 1", "a.png")]
    [TestCase("", "no samples")]
    public void Folders_that_do_not_fit_are_refused(string list, params string[] expected)
    {
        File.WriteAllText(_folder["labels.txt"], list);
        AssertRefusal(() => TrainingData.Load(_folder.Path, s_pixels), expected);
    }

    [Test]
    public void A_folder_without_a_list_is_refused() => AssertRefusal(() => TrainingData.Load(_folder.Path, s_pixels), ["labels.txt"]);

    private void AssertRefused(DiTConfig config, string[] expected, params (string Name, byte[] Content)[] arrays)
    {
        var path = Archive(arrays);
        AssertRefusal(() => TrainingData.Load(path, config), ["a.npz", .. expected]);
    }

    private static void AssertRefusal(Func<TrainingData> load, string[] expected)
    {
        var refusal = Assert.Throws<InvalidFileException>(() => load());
        foreach (var text in expected) Assert.That(refusal.Message, Does.Contain(text));
    }

    private string Archive(params (string Name, byte[] Content)[] arrays) => NpzFiles.Save(_folder["a.npz"], CompressionLevel.Fastest, arrays);

    private static byte[] Npy(string type, string shape, byte[] data) => NpzFiles.Npy(type, shape, data);

    private static byte[] Floats(string shape, float[] values) => Npy("<f4", shape, MemoryMarshal.AsBytes<float>(values).ToArray());

    private static byte[] Labels(params long[] labels) => Npy("<i8", $"({labels.Length},)", MemoryMarshal.AsBytes<long>(labels).ToArray());
}

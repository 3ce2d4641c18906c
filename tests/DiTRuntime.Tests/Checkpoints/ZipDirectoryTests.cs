using DiTRuntime.Checkpoints;

namespace DiTRuntime.Tests.Checkpoints;

public sealed class ZipDirectoryTests
{
    private static readonly byte[] s_pickle = new PickleWriter().Op('}').ToArray();

    private readonly TestFolder _folder = new();

    [OneTimeTearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public void Sizes_and_offsets_of_64_bits_are_read()
    {
        var zip = new ZipWriter { Zip64 = true }.Add("m/data.pkl", new PickleWriter().Dictionary(("a", w => w.Tensor("ByteStorage", "0", 3, 0, [3], [1]))).ToArray())
            .Add("m/data/0", [1, 2, 3]);

        using var checkpoint = Checkpoint.Open(_folder.Write("64.pt", zip.ToArray()));

        Assert.That(checkpoint.Tensors[0].ToArray(), Is.EqualTo(new[] { 1f, 2f, 3f }));
    }

    [TestCase("/m/x", "absolute")]
    [TestCase("m/../../x", "absolute or climbing")]
    [TestCase("C:/x", "absolute")]
    [TestCase("m\\x", "absolute")]
    [TestCase("m/\u001b", "control characters")]
    public void A_path_that_leaves_the_archive_is_refused(string name, string reason) =>
        Assert.That(Refuse(new ZipWriter().Add("m/data.pkl", s_pickle).Add(name, [1])), Does.Contain(reason));

    [Test]
    public void A_repeated_entry_is_refused() =>
        Assert.That(Refuse(new ZipWriter().Add("m/data.pkl", s_pickle).Add("m/data.pkl", s_pickle)), Does.Contain("holds m/data.pkl twice"));

    [Test]
    public void Compressed_and_encrypted_entries_are_refused()
    {
        Assert.That(Refuse(new ZipWriter().Add("m/data.pkl", s_pickle, method: 8)), Does.Contain("m/data.pkl is compressed (method 8)"));
        Assert.That(Refuse(new ZipWriter().Add("m/data.pkl", s_pickle, flags: 1)), Does.Contain("m/data.pkl is encrypted"));
    }

    [Test]
    public void A_local_header_that_disagrees_is_refused()
    {
        Assert.That(Refuse(new ZipWriter().Add("m/data.pkl", s_pickle, localName: "m/other.pk")), Does.Contain("m/data.pkl differs"));
        Assert.That(Refuse(new ZipWriter().Add("m/data.pkl", s_pickle, sizeError: 1)), Does.Contain("m/data.pkl differs"));
    }

    [Test]
    public void A_directory_outside_the_file_is_refused([Values(false, true)] bool wide)
    {
        var zip = new ZipWriter { Zip64 = wide }.Add("m/data.pkl", s_pickle);

        Assert.That(Refusal.Of(_folder.Write("shifted.pt", zip.ToArray(directoryShift: 1000))), Does.Contain("the zip directory lies outside"));
    }

    [Test]
    public void A_truncated_archive_is_refused()
    {
        var whole = File.ReadAllBytes(TestFiles.Golden("tiny/official.pt"));

        Assert.That(Refusal.Of(_folder.Write("short.pt", whole[..^100])), Does.Contain("truncated"));
    }

    [Test]
    public void An_archive_without_one_pickle_is_refused()
    {
        Assert.That(Refuse(new ZipWriter().Add("m/x", [1])), Does.Contain("0 entries */data.pkl"));
        Assert.That(Refuse(new ZipWriter().Add("m/data.pkl", s_pickle).Add("n/data.pkl", s_pickle)), Does.Contain("2 entries"));
    }

    private string Refuse(ZipWriter zip) => Refusal.Of(_folder.Write("a.pt", zip.ToArray()));
}

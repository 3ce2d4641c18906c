using System.IO.Compression;
using System.Text;
using DiTRuntime.Calibration.Evaluation;
using DiTRuntime.Imaging;
using DiTRuntime.Tests.Checkpoints;

namespace DiTRuntime.Tests.Calibration.Evaluation;

public sealed class NpzReaderTests
{
    private TestFolder _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = new TestFolder();

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public void Images_of_the_project_s_own_writer_come_back()
    {
        var images = new[] { Imaging.TestImages.Make(5, 4, 3), Imaging.TestImages.Make(5, 4, 3, seed: 2) };
        using (var stream = File.Create(_folder["a.npz"]))
        {
            using var writer = new NpzWriter(stream, 2, 4, 5);
            foreach (var image in images) writer.Add(image);
            writer.Complete();
        }

        using var reader = NpzReader.Open(_folder["a.npz"]);
        using var array = reader.Begin("arr_0");
        array.CheckShape(2, null, null, 3);
        var pixels = new byte[60];
        foreach (var image in images)
        {
            array.Read(pixels);
            Assert.That(pixels, Is.EqualTo(image.Pixels));
        }
    }

    [TestCase(1, CompressionLevel.NoCompression)]
    [TestCase(2, CompressionLevel.Optimal)]
    [TestCase(3, CompressionLevel.Fastest)]
    public void Every_version_stored_or_deflated_gives_its_numbers(int version, CompressionLevel level)
    {
        var values = Enumerable.Range(0, 70_000).Select(i => i * 0.5 - 3).ToArray();
        Save(level, ("mu", Npy("<f8", "(2, 35000)", Bytes(values), version)));
        using var reader = NpzReader.Open(_folder["a.npz"]);
        Assert.That(reader.ReadNumbers("mu", 2, null), Is.EqualTo(values));
    }

    [Test]
    public void Every_element_type_is_converted()
    {
        Save(
            CompressionLevel.Optimal,
            ("u1", Npy("|u1", "(3,)", [0, 1, 255])),
            ("i4", Npy("<i4", "(1,)", BitConverter.GetBytes(-5))),
            ("i8", Npy("<i8", "(1,)", BitConverter.GetBytes(1L << 40))),
            ("f2", Npy("<f2", "(1,)", BitConverter.GetBytes((Half)1.5))),
            ("f4", Npy("<f4", "()", BitConverter.GetBytes(2.5f))),
            ("f8", Npy("<f8", "(1, 1)", BitConverter.GetBytes(Math.PI))));
        using var reader = NpzReader.Open(_folder["a.npz"]);
        Assert.That(reader.ReadNumbers("u1", 3), Is.EqualTo(new double[] { 0, 1, 255 }));
        Assert.That(reader.ReadNumbers("i4", 1), Is.EqualTo(new double[] { -5 }));
        Assert.That(reader.ReadNumbers("i8", 1), Is.EqualTo(new double[] { 1L << 40 }));
        Assert.That(reader.ReadNumbers("f2", 1), Is.EqualTo(new[] { 1.5 }));
        Assert.That(reader.ReadNumbers("f4"), Is.EqualTo(new[] { 2.5 }));
        Assert.That(reader.ReadNumbers("f8", 1, 1), Is.EqualTo(new[] { Math.PI }));
    }

    [TestCase("<f8", "(2,)", 15, "holds 15 bytes", "F64 [2] takes 16")]
    [TestCase(">f8", "(2,)", 16, "'>f8'", "little-endian")]
    [TestCase("|O", "(2,)", 16, "'|O'", "expected")]
    [TestCase("<f8", "(99999999999, 99999999999)", 16, "overflows", "99999999999")]
    [TestCase("<f8", "(-1,)", 0, "(-1,)", "not one")]
    [TestCase("<f8", "(3,)", 24, "shape [3]", "[2] was expected")]
    public void An_array_of_another_kind_is_refused(string descr, string shape, int byteCount, params string[] words)
    {
        Save(CompressionLevel.Optimal, ("mu", Npy(descr, shape, new byte[byteCount])));
        var refusal = Refusal.Of(_folder["a.npz"], () =>
        {
            using var reader = NpzReader.Open(_folder["a.npz"]);
            reader.ReadNumbers("mu", 2);
        });
        foreach (var word in words) Assert.That(refusal, Does.Contain(word).And.Contain("array mu"));
    }

    [Test]
    public void Fortran_order_is_refused() =>
        Refused(Npy("<f8", "(2,)", new byte[16]).Replace("False", "True "), "Fortran");

    [Test]
    public void A_number_that_is_not_finite_is_refused() => Refused(Npy("<f8", "(2,)", Bytes(1, double.NaN)), "NaN at element 1");

    [Test]
    public void Something_else_under_the_name_is_refused() => Refused(Encoding.ASCII.GetBytes("not an array at all"), "no NumPy array");

    [Test]
    public void A_missing_array_is_named_with_what_there_is()
    {
        Save(CompressionLevel.Optimal, ("sigma", Npy("<f8", "(1,)", new byte[8])));
        using var reader = NpzReader.Open(_folder["a.npz"]);
        Assert.That(Refusal.Of(_folder["a.npz"], () => reader.Begin("mu")), Does.Contain("no array mu").And.Contain("sigma"));
    }

    [Test]
    public void A_file_that_is_no_zip_is_refused() =>
        Assert.That(Refusal.Of(_folder.Write("a.npz", "hello"), () => NpzReader.Open(_folder["a.npz"])), Does.Contain("no .npz archive"));

    [Test]
    public void A_missing_file_is_refused() => Assert.That(Refusal.Of(_folder["b.npz"], () => NpzReader.Open(_folder["b.npz"])), Does.Contain("no such file"));

    [Test]
    public void Damaged_files_end_in_nothing_but_a_refusal()
    {
        Save(
            CompressionLevel.Optimal,
            ("arr_0", Npy("|u1", "(2, 4, 4, 3)", [.. Enumerable.Range(0, 96).Select(i => (byte)(i * 7))])), ("mu", Npy("<f8", "(4,)", Bytes(1, 2, 3, 4))));
        var original = File.ReadAllBytes(_folder["a.npz"]);
        var refused = 0;
        for (var i = 0; i < 2000; i++)
        {
            _folder.Write("b.npz", new Mutation(i).Apply(original));
            var before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                using var reader = NpzReader.Open(_folder["b.npz"]);
                foreach (var name in reader.Names)
                {
                    using var array = reader.Begin(name);
                    array.ReadNumbers();
                }
            }
            catch (InvalidFileException e)
            {
                Assert.That(e.Message, Does.Not.Contain('\n'));
                refused++;
            }

            Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(original.Length + (64 << 20)), $"mutation {i}");
        }

        Assert.That(refused, Is.InRange(200, 1999));
    }

    private void Refused(byte[] array, string word)
    {
        Save(CompressionLevel.Optimal, ("mu", array));
        using var reader = NpzReader.Open(_folder["a.npz"]);
        Assert.That(Refusal.Of(_folder["a.npz"], () => reader.ReadNumbers("mu", 2)), Does.Contain(word));
    }

    private void Save(CompressionLevel level, params (string Name, byte[] Content)[] arrays) => NpzFiles.Save(_folder["a.npz"], level, arrays);

    private static byte[] Npy(string descr, string shape, byte[] data, int version = 1) => NpzFiles.Npy(descr, shape, data, version);

    private static byte[] Bytes(params double[] values) => NpzFiles.Bytes(values);
}

using System.IO.Compression;
using System.Text;
using DiTRuntime.Imaging;

namespace DiTRuntime.Tests.Imaging;

internal sealed class NpzWriterTests
{
    [Test]
    public void Entry_is_a_NumPy_array_byte_for_byte()
    {
        byte[] first = [.. Enumerable.Range(0, 12).Select(i => (byte)i)], second = [.. first.Reverse()];
        var entry = Entry(Write(new Image(2, 2, 3, first), new Image(2, 2, 3, second)));

        // What numpy.lib.format writes for uint8 [2,2,2,3]: 128 bytes of header.
        var header = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 2, 3), }".PadRight(117) + "\n";
        byte[] expected = [0x93, .. "NUMPY"u8, 1, 0, 118, 0, .. Encoding.ASCII.GetBytes(header), .. first, .. second];
        Assert.That(entry, Is.EqualTo(expected));
        Assert.That((entry.Length - 24) % 64, Is.Zero);
    }

    [Test]
    public void Grey_images_fill_three_channels() =>
        Assert.That(Entry(Write(new Image(2, 1, 1, [7, 9])))[^6..], Is.EqualTo(new byte[] { 7, 7, 7, 9, 9, 9 }));

    [Test]
    public void Zip_stores_without_compression_and_without_the_time()
    {
        var file = Write(TestImages.Make(64, 64, 3));
        using var archive = new ZipArchive(new MemoryStream(file));
        Assert.That(archive.Entries.Single().LastWriteTime.Year, Is.EqualTo(1980));
        Assert.That(archive.Entries.Select(e => (e.FullName, e.CompressedLength)), Is.EqualTo(new[] { ("arr_0.npy", 128L + 64 * 64 * 3) }));
    }

    [Test]
    public void Memory_does_not_grow_with_the_number_of_images()
    {
        var image = TestImages.Make(256, 256, 1);
        using var writer = new NpzWriter(Stream.Null, 200, 256, 256);
        writer.Add(image);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 1; i < 200; i++) writer.Add(image);
        writer.Complete();
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(1 << 20));
    }

    [Test]
    public void Images_of_another_size_or_number_are_refused()
    {
        using var writer = new NpzWriter(new MemoryStream(), 1, 4, 4);
        Assert.That(() => writer.Add(TestImages.Make(4, 5, 3)), Throws.ArgumentException);
        Assert.That(writer.Complete, Throws.InvalidOperationException);
        writer.Add(TestImages.Make(4, 4, 3));
        Assert.That(() => writer.Add(TestImages.Make(4, 4, 3)), Throws.InvalidOperationException);
    }

    [Test]
    public void Other_members_follow_the_images()
    {
        using var stream = new MemoryStream();
        using (var writer = new NpzWriter(stream, 1, 4, 4))
        {
            Assert.That(() => writer.AddArray("indices", [3]), Throws.InvalidOperationException);
            writer.Add(TestImages.Make(4, 4, 3));
            writer.AddArray("indices", [3, -1]);
            writer.AddFile("note.txt", "hello"u8);
            writer.Complete();
        }

        using var archive = new ZipArchive(stream);
        Assert.That(archive.Entries.Select(e => (e.FullName, e.Length)), Is.EqualTo(new[] { ("arr_0.npy", 128L + 48), ("indices.npy", 128L + 16), ("note.txt", 5L) }));
        using var indices = archive.Entries[1].Open();
        var bytes = new byte[archive.Entries[1].Length];
        indices.ReadExactly(bytes);
        Assert.That(Encoding.ASCII.GetString(bytes[10..^16]), Does.StartWith("{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }"));
        Assert.That(bytes[^16..], Is.EqualTo(new byte[] { 3, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255 }));
    }

    private static byte[] Write(params Image[] images)
    {
        using var stream = new MemoryStream();
        using (var writer = new NpzWriter(stream, images.Length, images[0].Height, images[0].Width))
        {
            foreach (var image in images) writer.Add(image);
            writer.Complete();
        }

        return stream.ToArray();
    }

    private static byte[] Entry(byte[] file)
    {
        using var archive = new ZipArchive(new MemoryStream(file));
        using var stream = archive.Entries.Single().Open();
        using var content = new MemoryStream();
        stream.CopyTo(content);
        return content.ToArray();
    }
}

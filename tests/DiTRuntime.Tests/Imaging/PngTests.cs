using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;
using DiTRuntime.Imaging;

namespace DiTRuntime.Tests.Imaging;

internal sealed class PngTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    [TestCase(1, 1, 1)]
    [TestCase(1, 1, 3)]
    [TestCase(33, 17, 1)]
    [TestCase(64, 64, 3)]
    [TestCase(301, 7, 3)]
    public void Pixels_come_back(int width, int height, int channels)
    {
        var image = TestImages.Make(width, height, channels);
        ImageCodecs.Save(_folder["a.png"], image);
        var read = PngReader.ReadPixels(_folder["a.png"]);
        Assert.That((read.Width, read.Height, read.Channels), Is.EqualTo((width, height, channels)));
        Assert.That(read.Pixels, Is.EqualTo(image.Pixels));
    }

    [Test]
    public void File_is_built_as_the_specification_says()
    {
        var image = TestImages.Make(20, 10, 3);
        var chunks = Chunks(Encode(image, new() { ["parameters"] = "Steps: 5" }));
        Assert.That(chunks.Select(c => c.Type), Is.EqualTo(new[] { "IHDR", "tEXt", "IDAT", "IEND" }));
        Assert.That(chunks[0].Data, Is.EqualTo(new byte[] { 0, 0, 0, 20, 0, 0, 0, 10, 8, 2, 0, 0, 0 }));
        Assert.That(chunks[1].Data, Is.EqualTo("parameters\0Steps: 5"u8.ToArray()));
        Assert.That(chunks[3].Data, Is.Empty);
        Assert.That(Inflate(chunks[2].Data), Has.Length.EqualTo(10 * (1 + 20 * 3)));
    }

    [Test]
    public void Every_filter_is_used_where_it_suits()
    {
        var filters = new HashSet<byte>();
        foreach (var seed in Enumerable.Range(0, 20))
        {
            var data = Inflate(Chunks(Encode(TestImages.Make(40, 80, 1, seed)))[1].Data);
            for (var y = 0; y < 80; y++) filters.Add(data[y * 41]);
        }

        Assert.That(filters, Is.EquivalentTo(new byte[] { 0, 1, 2, 3, 4 }));
    }

    [Test]
    public void The_filter_with_the_smallest_residuals_is_taken()
    {
        // Flat 200: less the left neighbour in the first row, less the row above after that.
        var data = Inflate(Chunks(Encode(new Image(10, 3, 1, [.. Enumerable.Repeat((byte)200, 30)])))[1].Data);
        Assert.That(new[] { data[0], data[11], data[22] }, Is.EqualTo(new[] { 1, 2, 2 }));
    }

    // left + above − upper left lies as near to the first named as to the next; ties go to left, above, upper left.
    [TestCase(10, 25, 20, 10)]
    [TestCase(25, 10, 20, 10)]
    [TestCase(10, 20, 15, 15)]
    [TestCase(3, 9, 3, 9)]
    [TestCase(250, 250, 5, 250)]
    public void Paeth_predicts_as_the_specification_says(byte left, byte above, byte upperLeft, byte expected) =>
        Assert.That(PngFormat.Paeth(left, above, upperLeft), Is.EqualTo(expected));

    [Test]
    public void A_smooth_image_takes_a_fraction_of_its_pixels()
    {
        var smooth = new byte[256 * 256];
        for (var i = 0; i < smooth.Length; i++) smooth[i] = (byte)((i >> 8) + (i & 255));
        Assert.That(Encode(new Image(256, 256, 1, smooth)), Has.Length.LessThan(smooth.Length / 50));
    }

    [TestCase("plain")]
    [TestCase("Latin-1: é, two\nlines")]
    [TestCase("日本語 and 😀")]
    [TestCase("")]
    public void Texts_come_back(string text)
    {
        ImageCodecs.Save(_folder["a.png"], TestImages.Make(2, 2, 1), new Dictionary<string, string> { ["parameters"] = text, ["Title"] = "x" });
        var description = PngReader.ReadDescription(_folder["a.png"]);
        Assert.That(description.Text, Is.EquivalentTo(new Dictionary<string, string> { ["parameters"] = text, ["Title"] = "x" }));
        Assert.That((description.Width, description.Height, description.BitDepth, description.Colour), Is.EqualTo((2, 2, 8, "grey")));
    }

    [Test]
    public void Text_beyond_Latin_1_is_written_as_UTF_8() =>
        Assert.That(Chunks(Encode(TestImages.Make(2, 2, 1), new() { ["k"] = "→" }))[1],
            Is.EqualTo(("iTXt", new byte[] { (byte)'k', 0, 0, 0, 0, 0, 0xE2, 0x86, 0x92 })).Using<(string Type, byte[] Data)>((a, b) => a.Type == b.Type && a.Data.SequenceEqual(b.Data)));

    [TestCase("")]
    [TestCase("a\nb")]
    [TestCase("日本")]
    public void Keywords_that_PNG_does_not_allow_are_refused(string keyword) =>
        Assert.That(() => Encode(TestImages.Make(2, 2, 1), new() { [keyword] = "x" }), Throws.ArgumentException);

    [Test]
    public void Compressed_texts_of_other_writers_are_read()
    {
        byte[] zTXt = [.. "Comment\0\0"u8, .. Deflate(Encoding.Latin1.GetBytes("Zürich"))];
        byte[] iTXt = [.. "parameters\0\u0001\0en\0title\0"u8, .. Deflate("Stufen: 5 ✓"u8)];
        var path = WriteWithChunks(("zTXt", zTXt), ("iTXt", iTXt));
        Assert.That(PngReader.ReadDescription(path).Text, Is.EquivalentTo(new Dictionary<string, string> { ["Comment"] = "Zürich", ["parameters"] = "Stufen: 5 ✓" }));
    }

    [Test]
    public void A_file_of_another_writer_is_decoded()
    {
        // One transparent-green pixel, RGBA: an image many web pages use as a placeholder.
        File.WriteAllBytes(_folder["a.png"], Convert.FromBase64String(
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="));
        Assert.That(PngReader.ReadDescription(_folder["a.png"]).Colour, Is.EqualTo("RGB with alpha"));
        Assert.That(PngReader.ReadPixels(_folder["a.png"]).Channels, Is.EqualTo(3));
    }

    [Test]
    public void Image_data_in_several_chunks_is_put_together()
    {
        var image = TestImages.Make(30, 20, 3);
        var chunks = Chunks(Encode(image));
        var data = chunks[1].Data;
        File.WriteAllBytes(_folder["a.png"], Build([chunks[0], ("IDAT", data[..100]), ("IDAT", []), ("IDAT", data[100..]), chunks[2]]));
        Assert.That(PngReader.ReadPixels(_folder["a.png"]).Pixels, Is.EqualTo(image.Pixels));
    }

    [Test]
    public void Compressed_texts_that_explode_are_refused_within_bounds()
    {
        byte[] bomb = [.. "k\0\0"u8, .. Deflate(new byte[200 << 20])];
        var path = WriteWithChunks(("zTXt", bomb));
        var before = GC.GetAllocatedBytesForCurrentThread();
        Assert.That(() => PngReader.ReadDescription(path), Throws.TypeOf<InvalidFileException>().With.Message.Contains("4 MB of texts"));
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(bomb.Length + (64 << 20)));
    }

    [Test]
    public void Too_many_texts_are_refused()
    {
        var path = WriteWithChunks([.. Enumerable.Range(0, 1025).Select(i => ("tEXt", Encoding.ASCII.GetBytes($"k{i}\0v")))]);
        Assert.That(() => PngReader.ReadDescription(path), Throws.TypeOf<InvalidFileException>().With.Message.Contains("1,024 texts"));
    }

    [Test]
    public void Pixels_of_a_huge_claim_are_refused_before_they_are_allocated()
    {
        var chunks = Chunks(Encode(TestImages.Make(2, 2, 1)));
        BinaryPrimitives.WriteInt32BigEndian(chunks[0].Data, int.MaxValue);
        BinaryPrimitives.WriteInt32BigEndian(chunks[0].Data.AsSpan(4), int.MaxValue);
        File.WriteAllBytes(_folder["a.png"], Build(chunks));
        Assert.That(() => PngReader.ReadPixels(_folder["a.png"]), Throws.TypeOf<InvalidFileException>().With.Message.Contains("2147483647x2147483647"));
    }

    [Test]
    public void Damage_is_named()
    {
        var file = Encode(TestImages.Make(9, 9, 1));
        var flipped = file.ToArray();
        flipped[50] ^= 1;
        AssertRefused(flipped, "the chunk at byte 33 fails its check sum");
        AssertRefused(file[..^20], "claims");
        AssertRefused(file[..^12], "ends before its end chunk");
        AssertRefused([], "not a PNG file");
        AssertRefused(Build([Chunks(file)[1]]), "does not begin with its header");
        Assert.That(() => PngReader.ReadDescription(_folder["none.png"]), Throws.TypeOf<InvalidFileException>().With.Message.EndsWith("no such file"));
        Assert.That(() => PngReader.ReadDescription(_folder.Path), Throws.TypeOf<InvalidFileException>());

        void AssertRefused(byte[] bytes, string problem)
        {
            File.WriteAllBytes(_folder["bad.png"], bytes);
            Assert.That(() => PngReader.ReadPixels(_folder["bad.png"]), Throws.TypeOf<InvalidFileException>().With.Message.Contains(problem));
        }
    }

    [Test]
    public void Rows_with_an_unknown_filter_are_refused()
    {
        var chunks = Chunks(Encode(new Image(2, 1, 1, [1, 2])));
        File.WriteAllBytes(_folder["a.png"], Build([chunks[0], ("IDAT", Deflate([5, 1, 2])), chunks[2]]));
        Assert.That(() => PngReader.ReadPixels(_folder["a.png"]), Throws.TypeOf<InvalidFileException>().With.Message.Contains("row 0 claims filter 5"));
    }

    [TestCase("tEXt", "no separator")]
    [TestCase("tEXt", "\0no keyword")]
    [TestCase("zTXt", "k\0")]
    [TestCase("zTXt", "k\0\u0001method")]
    [TestCase("zTXt", "k\0\0not deflated")]
    [TestCase("iTXt", "k\0\0\0en")]
    [TestCase("iTXt", "k\0\0")]
    public void Texts_that_break_the_rules_are_refused(string type, string data)
    {
        var path = WriteWithChunks((type, Encoding.Latin1.GetBytes(data)));
        Assert.That(() => PngReader.ReadDescription(path), Throws.TypeOf<InvalidFileException>().With.Message.Contains("damaged PNG: "));
    }

    [Test]
    public void Mutated_files_raise_only_the_file_exception()
    {
        byte[] itxt = [.. "parameters\0\u0001\0en\0title\0"u8, .. Deflate("Steps: 5 ✓"u8)];
        var original = File.ReadAllBytes(WriteWithChunks(("tEXt", "Title\0x"u8.ToArray()), ("iTXt", itxt)));
        var random = new Random(7);
        var path = _folder["mutated.png"];
        var refused = 0;
        for (var round = 0; round < 2000; round++)
        {
            var bytes = Mutate(original, random);
            // Half of the files get right check sums again, so that the damage reaches what lies behind them.
            if (round % 2 == 0) RepairCheckSums(bytes);
            File.WriteAllBytes(path, bytes);
            var before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                PngReader.ReadDescription(path);
                PngReader.ReadPixels(path);
            }
            catch (InvalidFileException)
            {
                refused++;
            }

            Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(2 * (bytes.Length + (64 << 20))), $"round {round}");
        }

        Assert.That(refused, Is.InRange(1000, 1999));
    }

    [Test]
    public void Only_PNG_files_are_taken_for_PNG()
    {
        ImageCodecs.Save(_folder["a.png"], TestImages.Make(2, 2, 1));
        File.WriteAllText(_folder["b.png"], "no");
        Assert.That((PngReader.IsPng(_folder["a.png"]), PngReader.IsPng(_folder["b.png"]), PngReader.IsPng(_folder["c.png"])), Is.EqualTo((true, false, false)));
    }

    private static byte[] Mutate(byte[] original, Random random)
    {
        var bytes = original.ToList();
        for (var i = random.Next(1, 4); i > 0; i--)
        {
            var at = random.Next(bytes.Count);
            switch (random.Next(5))
            {
                case 0: bytes[at] ^= (byte)(1 << random.Next(8)); break;
                case 1: bytes[at] = (byte)random.Next(256); break;
                case 2: bytes.RemoveRange(at, Math.Min(random.Next(1, 40), bytes.Count - at - 1)); break;
                case 3: bytes.InsertRange(at, bytes.Take(random.Next(1, 40)).ToArray()); break;
                default: bytes[at] = 0xFF; break;
            }
        }

        return [.. bytes];
    }

    private static void RepairCheckSums(byte[] file)
    {
        for (var at = 8; at + 12 <= file.Length;)
        {
            var length = BinaryPrimitives.ReadUInt32BigEndian(file.AsSpan(at));
            if (length > file.Length - at - 12) return;
            var end = at + 8 + (int)length;
            BinaryPrimitives.WriteUInt32BigEndian(file.AsSpan(end), BitwiseCrc(file.AsSpan(at + 4, 4 + (int)length)));
            at = end + 4;
        }
    }

    private string WriteWithChunks(params (string Type, byte[] Data)[] extra)
    {
        var chunks = Chunks(Encode(TestImages.Make(12, 8, 3)));
        File.WriteAllBytes(_folder["extra.png"], Build([chunks[0], .. extra, .. chunks[1..]]));
        return _folder["extra.png"];
    }

    private static byte[] Encode(Image image, Dictionary<string, string>? text = null)
    {
        using var stream = new MemoryStream();
        new PngCodec().Encode(image, text, ".png", stream);
        return stream.ToArray();
    }

    private static byte[] Deflate(ReadOnlySpan<byte> data)
    {
        using var stream = new MemoryStream();
        using (var zlib = new ZLibStream(stream, CompressionLevel.Fastest)) zlib.Write(data);
        return stream.ToArray();
    }

    private static byte[] Inflate(byte[] data)
    {
        using var result = new MemoryStream();
        using var zlib = new ZLibStream(new MemoryStream(data), CompressionMode.Decompress);
        zlib.CopyTo(result);
        return result.ToArray();
    }

    // A reader of the tests' own, strict about lengths and check sums.
    private static (string Type, byte[] Data)[] Chunks(byte[] file)
    {
        Assert.That(file[..8], Is.EqualTo(new byte[] { 0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A }));
        var chunks = new List<(string, byte[])>();
        for (var at = 8; at < file.Length;)
        {
            var length = BinaryPrimitives.ReadInt32BigEndian(file.AsSpan(at));
            var covered = file.AsSpan(at + 4, 4 + length);
            Assert.That(BinaryPrimitives.ReadUInt32BigEndian(file.AsSpan(at + 8 + length)), Is.EqualTo(BitwiseCrc(covered)));
            chunks.Add((Encoding.ASCII.GetString(covered[..4]), covered[4..].ToArray()));
            at += 12 + length;
        }

        return [.. chunks];
    }

    private static byte[] Build((string Type, byte[] Data)[] chunks)
    {
        var file = new List<byte> { 0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A };
        var number = new byte[4];
        foreach (var (type, data) in chunks)
        {
            byte[] covered = [.. Encoding.ASCII.GetBytes(type), .. data];
            BinaryPrimitives.WriteInt32BigEndian(number, data.Length);
            file.AddRange(number);
            file.AddRange(covered);
            BinaryPrimitives.WriteUInt32BigEndian(number, BitwiseCrc(covered));
            file.AddRange(number);
        }

        return [.. file];
    }

    private static uint BitwiseCrc(ReadOnlySpan<byte> data)
    {
        var crc = uint.MaxValue;
        foreach (var value in data)
        {
            crc ^= value;
            for (var bit = 0; bit < 8; bit++) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xEDB88320 : crc >> 1;
        }

        return ~crc;
    }
}

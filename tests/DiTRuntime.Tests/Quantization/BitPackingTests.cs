using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Quantization;

public sealed class BitPackingTests
{
    /// <summary>Counts round the fast path's step of eight codes, its words of eight bytes, and the odd group counts of DiT.</summary>
    private static readonly int[] s_counts = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 23, 31, 32, 33, 63, 64, 65, 9 * 33, 288, 1152];

    [Test]
    public void Codes_stand_bit_by_bit_lowest_first([Values(1, 2, 3, 4, 5, 6, 7, 8)] int bits, [ValueSource(nameof(s_counts))] int count)
    {
        var codes = Codes(bits, count);
        var packed = new byte[BitPacking.ByteCount(count, bits)];
        packed.AsSpan().Fill(0xff);
        BitPacking.Pack(codes, bits, packed);
        Assert.That(packed, Is.EqualTo(Obvious(Array.ConvertAll(codes, code => (int)code), bits)));
        var unpacked = new byte[count];
        BitPacking.Unpack(packed, bits, unpacked);
        Assert.That(unpacked, Is.EqualTo(codes));
    }

    [Test]
    public void Wide_codes_stand_bit_by_bit_and_are_read_from_any_place([Range(1, 16)] int bits, [ValueSource(nameof(s_counts))] int count)
    {
        var random = new Random(bits * 1000 + count);
        ushort[] codes = [.. Enumerable.Range(0, count).Select(_ => (ushort)random.Next(1 << bits))];
        var packed = new byte[BitPacking.ByteCount(count, bits)];
        BitPacking.Pack(codes, bits, packed);
        Assert.That(packed, Is.EqualTo(Obvious(Array.ConvertAll(codes, code => (int)code), bits)));
        for (var first = 0; first < count; first += 5)
        {
            foreach (var length in new[] { Math.Min(7, count - first), count - first })
            {
                var part = new ushort[length];
                BitPacking.Unpack(packed, bits, first, part);
                Assert.That(part, Is.EqualTo(codes[first..(first + length)]));
            }
        }
    }

    [Test]
    public void Nothing_is_written_beyond_the_codes([Values(2, 3, 4, 5, 6, 8)] int bits)
    {
        var packed = new byte[BitPacking.ByteCount(17, bits) + 9];
        packed.AsSpan().Fill(0xa5);
        BitPacking.Pack(Codes(bits, 17), bits, packed);
        Assert.That(packed[^9..], Has.All.EqualTo(0xa5));
    }

    private static byte[] Codes(int bits, int count)
    {
        var random = new Random(bits * 1000 + count);
        return [.. Enumerable.Range(0, count).Select(_ => (byte)random.Next(1 << bits))];
    }

    private static byte[] Obvious(int[] codes, int bits)
    {
        var packed = new byte[(codes.Length * bits + 7) / 8];
        for (var i = 0; i < codes.Length; i++)
            for (var bit = 0; bit < bits; bit++)
                if ((codes[i] >> bit & 1) != 0) packed[(i * bits + bit) / 8] |= (byte)(1 << (i * bits + bit) % 8);
        return packed;
    }
}

using System.Runtime.InteropServices;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>What the records of a codebook weight share: its codewords as the device holds them, and what their elements add up to.</summary>
internal sealed class CodebookTables
{
    private readonly int[] _sums;

    /// <param name="weight">The weight.</param>
    /// <param name="layout">Its layout on the device.</param>
    public CodebookTables(CodebookWeight weight, WeightLayout layout)
    {
        var (books, isLookup) = (layout.Books!, layout.Format.IsLookup());
        var (bookBytes, tableBytes) = books.StoredBytes(isLookup);
        Bytes = new byte[bookBytes + tableBytes];
        var elements = Elements(weight, books);
        if (isLookup) Spread(weight, layout, elements);
        else elements.CopyTo(Bytes, 0);
        weight.Table.CopyTo(Bytes.AsSpan(bookBytes));
        _sums = books.IsInteger ? Sums(MemoryMarshal.Cast<byte, sbyte>(elements), weight.Format.VectorLength) : [];
    }

    /// <summary>Codebooks, or the pool and the numbers into it.</summary>
    public byte[] Bytes { get; }

    /// <summary>The sum of a codeword's elements, in 8 bits.</summary>
    /// <param name="vector">Its place among the vectors.</param>
    public int SumOf(int vector) => _sums[vector];

    /// <summary>All vectors, elements as they are multiplied.</summary>
    private static byte[] Elements(CodebookWeight weight, CodebookLayout books)
    {
        var vectors = weight.Vectors;
        var bytes = new byte[vectors.Length * books.ElementBytes];
        if (!books.IsInteger) MemoryMarshal.AsBytes(vectors).CopyTo(bytes);
        else for (var i = 0; i < vectors.Length; i++) bytes[i] = (byte)weight.ToInteger(vectors[i]);
        return bytes;
    }

    private static int[] Sums(ReadOnlySpan<sbyte> elements, int length)
    {
        var sums = new int[elements.Length / length];
        for (var i = 0; i < elements.Length; i++) sums[i / length] += elements[i];
        return sums;
    }

    /// <summary>Codebooks at their pitch, a codeword of two bytes twice; those of padded positions stay zero.</summary>
    private void Spread(CodebookWeight weight, WeightLayout layout, ReadOnlySpan<byte> elements)
    {
        var books = layout.Books!;
        var (format, size) = (weight.Format, books.CodewordBytes);
        for (var book = 0; book < format.BookCount(weight.Inputs); book++)
        {
            var target = Bytes.AsSpan((format.IsProduct ? books.PaddedVector(book) : book) * books.BookBytes, books.BookBytes);
            for (var code = 0; code < format.CodebookSize; code++)
            {
                var codeword = elements.Slice(weight.VectorOf(book, code) * size, size);
                codeword.CopyTo(target[(code * books.SlotBytes)..]);
                if (size == 2) codeword.CopyTo(target[(code * books.SlotBytes + 2)..]);
            }
        }
    }
}

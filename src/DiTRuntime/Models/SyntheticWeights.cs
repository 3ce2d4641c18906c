using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Models;

/// <summary>
/// Writes random weights of any architecture, to measure size and speed without a checkpoint. Each value follows from the seed, the
/// tensor's name and its index alone, so a seed gives the same file on every machine and with any number of threads.
/// </summary>
public static class SyntheticWeights
{
    /// <summary>Elements per write; bounds the memory.</summary>
    private const int ChunkElements = 1 << 22;

    /// <summary>Elements that one thread makes at a time.</summary>
    private const int PieceElements = 1 << 16;

    /// <summary>Increment of SplitMix64: 2⁶⁴ over the golden ratio.</summary>
    private const ulong Golden = 0x9e3779b97f4a7c15;

    /// <summary>Writes a safetensors file of the official layout.</summary>
    /// <param name="config">The architecture.</param>
    /// <param name="seed">Any number.</param>
    /// <param name="type">F32, F16 or BF16.</param>
    /// <param name="path">Where to; the file appears whole or not at all.</param>
    /// <param name="progress">Told the fraction that is written.</param>
    /// <param name="cancellation">Ends the writing; no file is left.</param>
    /// <exception cref="UsageException">Another element type, or a width whose positions cannot be computed.</exception>
    /// <exception cref="OutputException">The file cannot be written.</exception>
    public static void Write(
        DiTConfig config, ulong seed, ElementType type, string path, IProgress<double>? progress = null, CancellationToken cancellation = default)
    {
        if (type is not (ElementType.F32 or ElementType.F16 or ElementType.BF16))
            throw new UsageException($"random weights of type {type} are not written; f32, f16 or bf16 were expected");
        if (config.HiddenSize % 4 != 0) throw new UsageException($"the width {config.HiddenSize} is no multiple of 4");
        TensorDescription[] tensors = [.. DiTLayout.Official.Tensors(config).Select(t => new TensorDescription(t.Name, type, t.Shape))];
        var total = tensors.Sum(t => (double)t.Count);
        var metadata = new Dictionary<string, string>
        {
            [DiTConfigFacts.MetadataKey] = DiTConfigFacts.Write(config),
            ["synthetic"] = $"random weights, seed {seed}",
        };
        var values = new float[Math.Min(ChunkElements, tensors.Max(t => t.Count))];
        var bytes = new byte[values.Length * type.ByteSize()];
        AtomicFile.Write(path, stream =>
        {
            var written = 0L;
            SafetensorsWriter.Write(stream, metadata, tensors, (tensor, output) =>
            {
                foreach (var chunk in Chunks(config, seed, tensor, values, bytes))
                {
                    cancellation.ThrowIfCancellationRequested();
                    output.Write(chunk.Span);
                    written += chunk.Length / type.ByteSize();
                    progress?.Report(written / total);
                }
            });
        });
    }

    /// <summary>The bytes of a tensor, chunk by chunk in the same buffers.</summary>
    private static IEnumerable<ReadOnlyMemory<byte>> Chunks(DiTConfig config, ulong seed, TensorDescription tensor, float[] values, byte[] bytes)
    {
        var positions = tensor.Name == "pos_embed" ? PositionEmbedding.Compute(config.HiddenSize, config.InputSize / config.PatchSize) : null;
        var key = Mix(seed ^ Mix(Fingerprint(tensor.Name)));
        var deviation = (float)Deviation(tensor);
        var size = tensor.Type.ByteSize();
        for (long first = 0; first < tensor.Count; first += values.Length)
        {
            var start = first;
            var count = (int)Math.Min(values.Length, tensor.Count - first);
            Parallel.For(0, (count + PieceElements - 1) / PieceElements, piece =>
            {
                var offset = piece * PieceElements;
                var part = values.AsSpan(offset, Math.Min(PieceElements, count - offset));
                if (positions is null) Fill(key, (ulong)(start + offset), deviation, part);
                else positions.AsSpan((int)start + offset, part.Length).CopyTo(part);
                Encode(part, tensor.Type, bytes.AsSpan(offset * size, part.Length * size));
            });
            yield return bytes.AsMemory(0, count * size);
        }
    }

    /// <summary>
    /// Standard deviation by role. Products keep the scale of their input (1/√K); modulation is a quarter of that, so that gates stay small
    /// and the residual stream grows slowly over any depth.
    /// </summary>
    private static double Deviation(TensorDescription tensor)
    {
        if (tensor.Name.EndsWith(".bias", StringComparison.Ordinal)) return 0.02;
        if (tensor.Name.StartsWith("y_embedder.", StringComparison.Ordinal)) return 0.5;
        var inputs = tensor.Count / tensor.Shape[0];
        var gain = tensor.Name.Contains("adaLN_modulation", StringComparison.Ordinal) ? 0.25 : 1;
        return gain / Math.Sqrt(inputs);
    }

    /// <summary>Values that are nearly normal: the sum of the four 16-bit words of a counter's hash, centred (Irwin–Hall).</summary>
    private static void Fill(ulong key, ulong first, float deviation, Span<float> values)
    {
        // Variance of one word: (2^32 − 1) / 12.
        var scale = deviation / (float)Math.Sqrt(4 * (Math.Pow(2, 32) - 1) / 12);
        const int Mean = 2 * ushort.MaxValue;
        for (var i = 0; i < values.Length; i++)
        {
            var bits = Mix(key + (first + (ulong)i) * Golden);
            var sum = (int)(bits & 0xffff) + (int)((bits >> 16) & 0xffff) + (int)((bits >> 32) & 0xffff) + (int)(bits >> 48);
            values[i] = (sum - Mean) * scale;
        }
    }

    private static void Encode(ReadOnlySpan<float> values, ElementType type, Span<byte> bytes)
    {
        switch (type)
        {
            case ElementType.F16:
                TensorPrimitives.ConvertToHalf(values, MemoryMarshal.Cast<byte, Half>(bytes));
                break;
            case ElementType.BF16:
                var words = MemoryMarshal.Cast<byte, ushort>(bytes);
                for (var i = 0; i < words.Length; i++)
                {
                    // Rounds to nearest, ties to even; the values are finite.
                    var bits = BitConverter.SingleToUInt32Bits(values[i]);
                    words[i] = (ushort)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
                }

                break;
            default:
                MemoryMarshal.AsBytes(values).CopyTo(bytes);
                break;
        }
    }

    /// <summary>The output function of SplitMix64 (Steele, Lea, Flood 2014).</summary>
    private static ulong Mix(ulong x)
    {
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
        x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
        return x ^ (x >> 31);
    }

    /// <summary>FNV-1a, 64 bits, over the characters.</summary>
    private static ulong Fingerprint(string text) => text.Aggregate(0xcbf29ce484222325, (hash, c) => (hash ^ c) * 0x100000001b3);
}

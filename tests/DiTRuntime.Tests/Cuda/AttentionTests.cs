using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Checkpoints;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Quantization;

namespace DiTRuntime.Tests.Cuda;

/// <summary>attention_kernel and attention_wide_kernel against the reference backend.</summary>
[Category(TestDevice.Category)]
public sealed class AttentionTests
{
    // Probabilities and results are rounded to halves: 2^-12 each of a value on average, less where signs cancel.
    private const double Tolerance = 6e-4;

    // One warp, two, four; a ragged query tile; one to four tiles of keys at once, the last ragged or not; many tiles.
    [TestCase(1, 2, 64, 2)]
    [TestCase(16, 2, 32, 1)]
    [TestCase(17, 1, 16, 2)]
    [TestCase(49, 3, 72, 2)]
    [TestCase(64, 1, 80, 1)]
    [TestCase(100, 2, 96, 1)]
    [TestCase(100, 1, 24, 2)]
    [TestCase(256, 1, 72, 1)]
    [TestCase(257, 1, 72, 1)]
    [TestCase(300, 1, 128, 1)]
    public void Matches_reference(int tokens, int heads, int headSize, int batch) => Check(tokens, heads, headSize, batch, 1);

    // Wider than a warp: an odd number of 16-column steps, a last warp without columns, the decoder's width; ragged keys and queries.
    [TestCase(33, 2, 136, 1)]
    [TestCase(7, 1, 264, 2)]
    [TestCase(70, 1, 512, 1)]
    public void Wide_heads_match_reference(int tokens, int heads, int headSize, int batch) => Check(tokens, heads, headSize, batch, 1);

    [TestCase(100, 2, 96)]
    [TestCase(257, 1, 72)]
    [TestCase(33, 2, 136)]
    public void Large_scores_do_not_overflow(int tokens, int heads, int headSize) => Check(tokens, heads, headSize, 1, 40);

    [TestCase(49, 3, 72)]
    [TestCase(257, 1, 72)]
    [TestCase(33, 2, 136)]
    public void A_sample_has_the_same_bits_alone(int tokens, int heads, int headSize)
    {
        const int Batch = 3;
        var sampleValues = heads * tokens * headSize;
        var qkv = Values(Batch, sampleValues, 1);
        var all = Halves(qkv, Batch, tokens, heads, headSize);
        var alone = Enumerable.Range(0, 3).SelectMany(part => qkv.AsSpan((part * Batch + 1) * sampleValues, sampleValues).ToArray()).ToArray();
        Assert.That(Halves(alone, 1, tokens, heads, headSize), Is.EqualTo(all[sampleValues..(2 * sampleValues)]));
    }

    // Groups of one head; of several, the last block with fewer and a ragged group; of units of four; all of a row; of fixed range.
    [TestCase(49, 3, 72, 72, false)]
    [TestCase(49, 5, 72, 144, false)]
    [TestCase(257, 4, 72, 288, false)]
    [TestCase(17, 4, 24, 36, true)]
    [TestCase(100, 2, 96, 0, false)]
    [TestCase(20, 16, 72, 0, false)]
    public void Quantizing_gives_the_bits_of_quantizing_the_halves(int tokens, int heads, int headSize, int group, bool isStatic)
    {
        const int Batch = 2;
        var width = heads * headSize;
        var groups = new ActivationFormat(group).Grid(width).Count;
        var format = new ActivationFormat(group)
        {
            StaticScales = isStatic ? [.. Enumerable.Range(0, groups).Select(g => 0.01f + 0.001f * g)] : null,
            StaticZeros = isStatic ? [.. Enumerable.Range(0, groups).Select(g => (byte)(100 + g))] : null,
        };
        Assert.That(AttentionKernel.CanQuantize(heads, headSize, format, TestDevice.Device.Properties.SharedMemoryPerBlock));
        using var qkv = TestDevice.UploadHalf(Values(Batch, tokens * width, 1));
        using var halves = TestDevice.Device.Allocate(Batch * tokens * width * 2);
        using var direct = new QuantizedRows(Batch * tokens, width, format);
        using var indirect = new QuantizedRows(Batch * tokens, width, format);
        var kernel = new AttentionKernel(TestDevice.Library);
        var input = new AttentionInput(qkv.Pointer, Batch, tokens, heads, headSize);
        kernel.Launch(TestDevice.Stream, input, direct.Device, format);
        kernel.Launch(TestDevice.Stream, input, halves.Pointer);
        new QuantizeRowsKernel(TestDevice.Library).Launch(TestDevice.Stream, halves.Pointer, Batch * tokens, width, indirect.Device, format);
        Assert.That(direct.Bits(), Is.EqualTo(indirect.Bits()));
        direct.Check(TestDevice.DownloadHalf(halves, Batch * tokens * width), 1e-7);
    }

    [Test]
    public void It_quantizes_where_whole_groups_lie_in_four_heads_or_a_group_is_the_row()
    {
        const int Shared = 99 * 1024;
        foreach (var group in (int[])[72, 96, 144, 288, 36, 0, 1152]) Assert.That(AttentionKernel.CanQuantize(16, 72, new ActivationFormat(group), Shared), $"group {group}");
        foreach (var group in (int[])[128, 64, 576]) Assert.That(AttentionKernel.CanQuantize(16, 72, new ActivationFormat(group), Shared), Is.False, $"group {group}");
        Assert.That(AttentionKernel.CanQuantize(16, 128, new ActivationFormat(512), Shared), "with fewer queries a block");
        Assert.That(AttentionKernel.CanQuantize(16, 128, new ActivationFormat(512), 48 * 1024), Is.False, "shared memory");
        Assert.That(AttentionKernel.CanQuantize(1, 512, new ActivationFormat(0), Shared), Is.False, "wide heads");
    }

    [TestCase(20)]
    [TestCase(100)]
    [TestCase(520)]
    public void Head_sizes_it_cannot_take_are_refused(int headSize)
    {
        var kernel = new AttentionKernel(TestDevice.Library);
        Assert.That(
            () => kernel.Launch(TestDevice.Stream, new AttentionInput(default, 1, 1, 1, headSize), DevicePointer.Null),
            Throws.InstanceOf<GpuUnavailableException>().With.Message.Contains($"not {headSize}"));
    }

    private static void Check(int tokens, int heads, int headSize, int batch, float scale)
    {
        var qkv = Values(batch, heads * tokens * headSize, scale);
        var actual = Array.ConvertAll(Halves(qkv, batch, tokens, heads, headSize), h => (float)h);
        Assert.That(Relative.Error(actual, Reference(qkv, batch, tokens, heads, headSize)), Is.LessThan(Tolerance));
    }

    /// <summary>q, k and v, exact as halves; q is scaled.</summary>
    private static float[] Values(int batch, int sampleValues, float scale)
    {
        var values = Array.ConvertAll(Gaussian.Values(3 * batch * sampleValues, sampleValues), v => (float)(Half)v);
        for (var i = 0; i < batch * sampleValues; i++) values[i] = (float)(Half)(scale * values[i]);
        return values;
    }

    private static Half[] Halves(float[] qkv, int batch, int tokens, int heads, int headSize)
    {
        using var input = TestDevice.UploadHalf(qkv);
        using var output = TestDevice.Device.Allocate(qkv.Length / 3 * 2);
        new AttentionKernel(TestDevice.Library).Launch(TestDevice.Stream, new AttentionInput(input.Pointer, batch, tokens, heads, headSize), output.Pointer);
        return TestDevice.Download<Half>(output, qkv.Length / 3);
    }

    private static float[] Reference(float[] qkv, int batch, int tokens, int heads, int headSize)
    {
        // From [3, B, heads, T, D] to [B, T, 3, heads, D].
        var width = heads * headSize;
        var rows = new float[qkv.Length];
        for (var i = 0; i < qkv.Length; i++)
        {
            var (d, token, head) = (i % headSize, i / headSize % tokens, i / headSize / tokens % heads);
            var (sample, part) = (i / headSize / tokens / heads % batch, i / headSize / tokens / heads / batch);
            rows[((sample * tokens + token) * 3 + part) * width + head * headSize + d] = qkv[i];
        }

        using var reference = new ReferenceBackend();
        using var input = reference.Allocate(ElementType.F32, batch, tokens, 3 * width);
        using var output = reference.Allocate(ElementType.F32, batch, tokens, width);
        reference.Upload<float>(rows, input);
        reference.Attention(input, heads, output);
        var expected = new float[batch * tokens * width];
        reference.Download<float>(output, expected);
        return expected;
    }
}

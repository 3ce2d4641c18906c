using System.Runtime.InteropServices;
using DiTRuntime.Exporter.Decoding;
using DiTRuntime.Exporter.Files;
using DiTRuntime.Models;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Checkpoints;
using DiTRuntime.Tests.Models;

namespace DiTRuntime.Tests.Exporter;

[TestFixture]
internal sealed class WeightsFileTests
{
    private static readonly FilePlan s_plan = new(Batch: 3, Steps: 25, TableRows: 40, Sampler: 1, Spacing: 2, GuidanceScale: 1.5f);

    [Test]
    public void Header_tells_the_model_and_the_plan()
    {
        using var folder = new TestFolder();
        using var weights = PackedFiles.Tiny();
        var config = weights.Config;
        var h = Write(folder["w.dit"], weights, Compatibility.Diffusers).Header;
        using (Assert.EnterMultipleScope())
        {
            Assert.That((h.Magic, h.Version, h.Target), Is.EqualTo((FileHeader.FileMagic, 1u, FileTarget.C)));
            Assert.That((h.InputSize, h.PatchSize, h.InChannels, h.OutChannels), Is.EqualTo(((uint)config.InputSize, (uint)config.PatchSize, (uint)config.InChannels, (uint)config.OutChannels)));
            Assert.That((h.HiddenSize, h.Depth, h.HeadCount, h.MlpSize, h.ClassCount), Is.EqualTo(((uint)config.HiddenSize, (uint)config.Depth, 2u, (uint)config.MlpSize, (uint)config.ClassCount)));
            Assert.That((h.SingleSchedule, h.GuidedChannels, h.RoundNearest, h.MlpEpsilon), Is.EqualTo((1u, (uint)config.InChannels, 1u, 1e-5f)));
            Assert.That((h.MaxBatch, h.DefaultSteps, h.TableRows, h.DefaultSampler, h.DefaultSpacing, h.DefaultGuidance), Is.EqualTo((3u, 25u, 40u, 1u, 2u, 1.5f)));
        }
    }

    [Test]
    public void Layers_stand_in_the_documented_order_with_their_dense_bytes()
    {
        using var folder = new TestFolder();
        using var weights = PackedFiles.Tiny();
        var file = Write(folder["w.dit"], weights);
        var layers = weights.Layers.ToArray();
        Assert.That(file.Layers.Select(ExportedFile.NameOf), Is.EqualTo(layers.Select(layer => layer.Name)));
        for (var i = 0; i < layers.Length; i++)
        {
            var expected = new float[layers[i].Outputs * layers[i].Inputs];
            layers[i].CopyRows(0, layers[i].Outputs, expected);
            var found = file.Layers[i];
            Assert.That((found.Outputs, found.Inputs, found.KernelSize, found.Format, found.Element), Is.EqualTo(((uint)layers[i].Outputs, (uint)layers[i].Inputs, 0u, FileFormat.Dense, FileElement.F32)));
            Assert.That(file.Values<float>(found.Weight), Is.EqualTo(expected), layers[i].Name);
            Assert.That(file.Values<float>(found.Bias), Is.EqualTo(layers[i].Bias ?? []), layers[i].Name);
        }
    }

    [Test]
    public void Sections_are_aligned_and_do_not_overlap()
    {
        using var folder = new TestFolder();
        var path = PackedFiles.Write(folder["p.safetensors"], new GroupFormat(3, 16), ActivationMode.Static, packAll: true);
        using var weights = DiTWeightsLoader.Load(path);
        var file = Write(folder["w.dit"], weights);
        var end = (ulong)file.Header.HeaderBytes;
        foreach (var (section, alignment) in file.Sections().Where(s => s.Section.Bytes > 0).OrderBy(s => s.Section.Offset))
        {
            Assert.That(section.Offset % (ulong)alignment, Is.Zero);
            Assert.That(section.Offset, Is.GreaterThanOrEqualTo(end));
            end = section.Offset + section.Bytes;
        }

        Assert.That(file.Header.FileBytes, Is.GreaterThanOrEqualTo(end + 64));
    }

    [TestCase(4, 16, ActivationMode.Dynamic)]
    [TestCase(8, 0, ActivationMode.Static)]
    [TestCase(3, 32, ActivationMode.Float)]
    public void Group_weights_are_copied_byte_by_byte(int bits, int group, ActivationMode activations)
    {
        using var folder = new TestFolder();
        var path = PackedFiles.Write(folder["p.safetensors"], new GroupFormat(bits, group), activations);
        using var weights = DiTWeightsLoader.Load(path);
        var file = Write(folder["w.dit"], weights);
        foreach (var layer in file.Layers.Where(layer => layer.Format == FileFormat.Group))
        {
            var name = ExportedFile.NameOf(layer);
            var readsTokens = !name.Contains("adaLN", StringComparison.Ordinal);
            using (Assert.EnterMultipleScope())
            {
                Assert.That((layer.Bits, layer.GroupSize), Is.EqualTo(((uint)bits, group == 0 ? layer.Inputs : (uint)group)), name);
                Assert.That(layer.ActivationGroup, Is.EqualTo(activations == ActivationMode.Float || !readsTokens ? 0 : layer.GroupSize), name);
                Assert.That(file.Bytes(layer.Weight), Is.EqualTo(Tensor(weights, name + ".qweight")), name);
                Assert.That(file.Bytes(layer.Scales), Is.EqualTo(Tensor(weights, name + ".scale")), name);
                Assert.That(file.Bytes(layer.Zeros), Is.EqualTo(Tensor(weights, name + ".zero")), name);
                if (activations != ActivationMode.Static || !readsTokens) continue;
                Assert.That(file.Bytes(layer.StaticScales), Is.EqualTo(Tensor(weights, name + ".activation_scale")), name);
                Assert.That(file.Bytes(layer.StaticZeros), Is.EqualTo(Tensor(weights, name + ".activation_zero")), name);
            }
        }

        Assert.That(file.Layers.Count(layer => layer.Format == FileFormat.Group), Is.EqualTo(5 * weights.Config.Depth));
    }

    [Test]
    public void Label_table_is_written_in_floating_point_whatever_form_it_has()
    {
        using var folder = new TestFolder();
        var path = PackedFiles.Write(folder["p.safetensors"], new GroupFormat(4, 16), packAll: true);
        using var weights = DiTWeightsLoader.Load(path);
        var layer = Write(folder["w.dit"], weights).Layers[3];
        Assert.That((ExportedFile.NameOf(layer), layer.Format, layer.Element), Is.EqualTo(("y_embedder.embedding_table", FileFormat.Dense, FileElement.F32)));
    }

    [TestCase(false, 0, 4)]
    [TestCase(true, 12, 4)]
    [TestCase(true, 0, 5)]
    public void Codebooks_are_copied_byte_by_byte(bool isProduct, int pool, int codebook)
    {
        using var folder = new TestFolder();
        using var source = PackedFiles.Tiny();
        var format = new CodebookFormat(codebook, 4) { IsProduct = isProduct, PoolSize = pool, HasRowScales = true };
        var weight = Codebook(format, outputs: 6, inputs: 16, new ActivationFormat(8));
        var sections = new SectionList(0);
        var table = new LayerTable(sections);
        table.Add(weight);
        using var stream = new MemoryStream();
        sections.Write(stream, null, CancellationToken.None);
        var layer = table.Entries[0];
        byte[] Bytes(FileSection section) => stream.ToArray().AsSpan((int)section.Offset, (int)section.Bytes).ToArray();
        using (Assert.EnterMultipleScope())
        {
            Assert.That((layer.Format, layer.Bits, layer.VectorLength, layer.CodebookSize), Is.EqualTo((isProduct ? FileFormat.Product : FileFormat.Codebook, (uint)format.CodeBits, 4u, (uint)codebook)));
            Assert.That((layer.Parts, layer.PoolSize, layer.WideTable, layer.ActivationGroup), Is.EqualTo((1u, (uint)pool, 0u, 8u)));
            Assert.That(layer.IntegerScale, Is.EqualTo(weight.IntegerScale));
            Assert.That(Bytes(layer.Weight), Is.EqualTo(weight.Codes.ToArray()));
            Assert.That(Bytes(layer.Codebook), Is.EqualTo(MemoryMarshal.AsBytes(weight.Vectors).ToArray()));
            Assert.That(Bytes(layer.Table), Is.EqualTo(weight.Table.ToArray()));
            Assert.That(Bytes(layer.Scales), Is.EqualTo(MemoryMarshal.AsBytes(weight.RowScales).ToArray()));
        }
    }

    [Test]
    public void Diffusers_layout_stacks_query_key_and_value()
    {
        using var folder = new TestFolder();
        using var weights = DiTWeightsLoader.Load(TestFiles.Golden("tiny/diffusers"), new DiTLoadOptions { HeadCount = 2 });
        var layer = Write(folder["w.dit"], weights).Layers[5];
        Assert.That((ExportedFile.NameOf(layer), layer.Outputs, layer.Inputs), Is.EqualTo(("blocks.0.attn.qkv", 3 * (uint)weights.Config.HiddenSize, (uint)weights.Config.HiddenSize)));
    }

    [Test]
    public void Half_precision_stays_half_precision()
    {
        using var folder = new TestFolder();
        using var weights = DiTWeightsLoader.Load(TestFiles.DigitModel);
        var file = Write(folder["w.dit"], weights);
        var layer = file.Layers[5];
        Assert.That(layer.Element, Is.EqualTo(FileElement.F16));
        Assert.That(file.Bytes(layer.Weight), Is.EqualTo(Tensor(weights, "blocks.0.attn.qkv.weight")));
    }

    private static ExportedFile Write(string path, DiTWeights weights, Compatibility compatibility = Compatibility.Official)
    {
        // The golden DiT has no decoder; its latents are written as they are.
        using var decoder = DecoderTrace.Of(null, weights.Config with { InChannels = 1 });
        WeightsFile.Of(weights, decoder, compatibility, s_plan).Write(path);
        return new ExportedFile(path);
    }

    private static byte[] Tensor(DiTWeights weights, string name)
    {
        Assert.That(weights.Checkpoint.TryGet(name, out var tensor), name);
        return tensor!.Bytes.ToArray();
    }

    private static CodebookWeight Codebook(CodebookFormat format, int outputs, int inputs, ActivationFormat activations)
    {
        var random = new Random(1);
        var codes = Enumerable.Range(0, outputs * format.VectorsPerRow(inputs)).Select(_ => (ushort)random.Next(format.CodebookSize)).ToArray();
        var entries = format.BookCount(inputs) * format.CodebookSize;
        var vectors = Enumerable.Range(0, (format.PoolSize == 0 ? entries : format.PoolSize) * format.VectorLength).Select(_ => (Half)(random.NextDouble() - 0.5)).ToArray();
        var numbers = Enumerable.Range(0, format.PoolSize == 0 ? 0 : entries).Select(_ => (uint)random.Next(format.PoolSize)).ToArray();
        Half[] scales = [.. Enumerable.Range(0, outputs).Select(_ => (Half)(random.NextDouble() + 0.5))];
        return CodebookWeight.Pack("layer", outputs, inputs, null, format, codes, vectors, numbers, scales, activations);
    }
}

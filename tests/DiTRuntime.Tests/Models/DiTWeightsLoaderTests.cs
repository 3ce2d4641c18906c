using System.Text.Json;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Checkpoints;

namespace DiTRuntime.Tests.Models;

public sealed class DiTWeightsLoaderTests
{
    private static readonly DiTLoadOptions s_tinyOptions = new() { HeadCount = 2, InputSize = 8 };

    private static readonly DiTConfig s_tiny = new()
    {
        InputSize = 8, PatchSize = 2, InChannels = 4, OutChannels = 8, HiddenSize = 64, Depth = 2, HeadCount = 2, MlpSize = 256, ClassCount = 10,
    };

    private readonly TestFolder _folder = new();

    [OneTimeTearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public void Every_layout_holds_the_same_weights([Values("official.pt", "train.pt", "diffusers", "diffusers.bin", "diffusers sharded", "diffusers.fp16")] string layout)
    {
        using var reference = DiTWeightsLoader.Load(TestFiles.Golden("tiny/official.safetensors"), s_tinyOptions);
        using var weights = DiTWeightsLoader.Load(LayoutPath(layout), s_tinyOptions);

        Assert.That(weights.Config, Is.EqualTo(s_tiny));
        Assert.That(weights.Positions, Is.EqualTo(reference.Positions).Within(6e-8f));
        var tolerance = layout == "diffusers.fp16" ? 2e-3f : 0;
        foreach (var (found, expected) in Layers(weights).Zip(Layers(reference)))
        {
            Assert.That(found.Name, Is.EqualTo(expected.Name));
            Assert.That(found.Bias, expected.Bias is null ? Is.Null : Is.EqualTo(expected.Bias).Within(tolerance), found.Name);
            Assert.That(Values(found), Is.EqualTo(Values(expected)).Within(tolerance), found.Name);
        }
    }

    [Test]
    public void The_copies_of_the_embedders_are_dropped_with_a_remark()
    {
        using var weights = DiTWeightsLoader.Load(TestFiles.Golden("tiny/diffusers"));

        Assert.That(weights.Remarks, Has.Exactly(1).StartsWith("5 copies of the embedders' tensors"));
        Assert.That(weights.Labels.NameOf(3), Is.EqualTo("class 3"));
    }

    [Test]
    public void The_digit_model_loads_from_its_metadata_alone()
    {
        using var weights = DiTWeightsLoader.Load(TestFiles.DigitModel);

        Assert.That((weights.Config.HeadCount, weights.Config.NullClass, weights.Config.OutChannels, weights.Config.InputSize), Is.EqualTo((4, 10, 2, 32)));
        Assert.That(weights.Labels.Count, Is.Zero);
    }

    [Test]
    public void A_copy_that_differs_is_refused_by_name()
    {
        const string Copy = "transformer_blocks.1.norm1.emb.timestep_embedder.linear_2.bias";
        var tensors = TensorFiles.Read(TestFiles.Golden("tiny/diffusers"));
        tensors.Replace(Copy, [64]);

        Assert.That(Refuse(tensors), Does.Contain($"tensor {Copy} differs from transformer_blocks.0."));
    }

    [Test]
    public void Stray_positions_of_the_diffusers_layout_are_accepted()
    {
        var tensors = TensorFiles.Read(TestFiles.Golden("tiny/diffusers"));
        tensors.Replace("pos_embed.pos_embed", [1, 16, 64]);

        using var weights = DiTWeightsLoader.Load(TensorFiles.Write(_folder["stray.safetensors"], tensors), s_tinyOptions);

        Assert.That(weights.Positions[0..2], Is.EqualTo(new[] { 0f, 0f }));
    }

    [TestCase("blocks.1.mlp.fc1.weight", "tensor blocks.1.mlp.fc1.weight is missing; shape [256,64] was expected")]
    [TestCase("final_layer.linear.bias", "tensor final_layer.linear.bias is missing; shape [32] was expected")]
    [TestCase("pos_embed", "tensor pos_embed is missing")]
    [TestCase("x_embedder.proj.weight", "tensor x_embedder.proj.weight is missing")]
    public void A_missing_tensor_is_named(string name, string reason)
    {
        var tensors = TensorFiles.Read(TestFiles.Golden("tiny/official.safetensors"));
        tensors.RemoveAll(t => t.Description.Name == name);

        Assert.That(Refuse(tensors), Does.Contain(reason));
    }

    [TestCase("blocks.0.attn.norm.weight", new[] { 64 }, "tensor blocks.0.attn.norm.weight [64] is extra")]
    [TestCase("blocks.99999999.attn.qkv.weight", new[] { 64 }, "tensor blocks.99999999.attn.qkv.weight [64] is extra")]
    [TestCase("blocks.3.attn.qkv.bias", new[] { 192 }, "tensor blocks.2.adaLN_modulation.1.weight is missing")]
    [TestCase("blocks.1.attn.qkv.bias", new[] { 191 }, "tensor blocks.1.attn.qkv.bias has shape [191]; [192] was expected")]
    [TestCase("blocks.1.attn.proj.weight", new[] { 64, 32, 2 }, "has shape [64,32,2]; [64,64] was expected")]
    [TestCase("x_embedder.proj.weight", new[] { 64, 16 }, "has shape [64,16]; [H,C,p,p] was expected")]
    [TestCase("x_embedder.proj.weight", new[] { 64, 4, 2, 1 }, "square patches")]
    [TestCase("x_embedder.proj.weight", new[] { 0, 4, 2, 2 }, "[H,C,p,p] was expected")]
    [TestCase("final_layer.linear.weight", new[] { 20, 64 }, "has 20 rows; 16 or 32 were expected")]
    [TestCase("y_embedder.embedding_table.weight", new[] { 1, 64 }, "has 1 row")]
    [TestCase("pos_embed", new[] { 1, 15, 64 }, "pos_embed has 15 rows; a square number")]
    public void A_wrong_tensor_is_named_with_both_shapes(string name, int[] shape, string reason)
    {
        var tensors = TensorFiles.Read(TestFiles.Golden("tiny/official.safetensors"));
        tensors.Replace(name, shape);

        Assert.That(Refuse(tensors), Does.Contain(reason));
    }

    [Test]
    public void A_tensor_of_integers_is_refused_by_name()
    {
        var tensors = TensorFiles.Read(TestFiles.Golden("tiny/official.safetensors"));
        tensors.RemoveAll(t => t.Description.Name == "x_embedder.proj.bias");
        tensors.Add(TensorValues.Of("x_embedder.proj.bias", [64], new long[64]));

        Assert.That(Refuse(tensors), Does.Contain("tensor x_embedder.proj.bias holds I64"));
    }

    [TestCase("blocks.0.mlp.fc2.bias", 64)]
    [TestCase("pos_embed", 1024)]
    public void A_bias_or_position_that_is_no_number_is_refused_by_name(string name, int count)
    {
        var tensors = TensorFiles.Read(TestFiles.Golden("tiny/official.safetensors"));
        var values = new float[count];
        values[7] = float.NaN;
        tensors.Replace(name, name == "pos_embed" ? [1, 16, 64] : [count], values);

        Assert.That(Refuse(tensors), Does.Contain($"tensor {name} holds NaN"));
    }

    [Test]
    public void What_is_no_DiT_is_refused() => Assert.That(Refuse([TensorValues.Of("conv1.weight", [1], [1f])]), Does.Contain("not a DiT").And.Contain("conv1.weight"));

    [Test]
    public void Without_a_source_of_the_head_count_the_user_is_asked() =>
        Assert.That(
            () => DiTWeightsLoader.Load(TestFiles.Golden("tiny/official.safetensors")),
            Throws.TypeOf<UsageException>().With.Message.Contains("width 64 and depth 2; give --heads"));

    [TestCase(3)]
    [TestCase(0)]
    [TestCase(-2)]
    public void Heads_that_do_not_divide_the_width_are_refused(int heads) =>
        Assert.That(
            () => DiTWeightsLoader.Load(TestFiles.Golden("tiny/official.safetensors"), new DiTLoadOptions { HeadCount = heads }),
            Throws.TypeOf<UsageException>().With.Message.Contains("do not divide the width 64"));

    [Test]
    public void Heads_that_contradict_the_configuration_are_refused([Values("diffusers", "digits")] string model)
    {
        var path = model == "digits" ? TestFiles.DigitModel : TestFiles.Golden("tiny/diffusers");

        Assert.That(() => DiTWeightsLoader.Load(path, new DiTLoadOptions { HeadCount = 8 }), Throws.TypeOf<UsageException>().With.Message.Contains("--heads 8 contradicts"));
    }

    [TestCase("""{"num_heads":2,"depth":3}""", "config says depth 3; the tensors have 2")]
    [TestCase("""{"num_heads":2,"num_classes":1000}""", "config says num_classes 1000; the tensors have 10")]
    [TestCase("""{"num_heads":2,"input_size":32}""", "config says input_size 32; pos_embed [1,16,64] was made for 8")]
    [TestCase("""{"num_heads":5}""", "config says 5 heads")]
    [TestCase("""{"num_heads":2""", "config is not valid JSON")]
    [TestCase("""{"\ud800":2}""", "config is not valid JSON")]
    [TestCase("""[]""", "config is not a JSON object")]
    public void A_configuration_that_contradicts_the_tensors_is_refused(string config, string reason)
    {
        var path = TensorFiles.Write(_folder["config.safetensors"], TensorFiles.Read(TestFiles.Golden("tiny/official.safetensors")), config);

        Assert.That(Refusal.Of(path, () => DiTWeightsLoader.Load(path)), Does.Contain(reason));
    }

    [Test]
    public void Another_size_gets_computed_positions([Values("official.safetensors", "diffusers")] string layout)
    {
        using var weights = DiTWeightsLoader.Load(TestFiles.Golden($"tiny/{layout}"), new DiTLoadOptions { HeadCount = 2, InputSize = 12 });

        Assert.That(weights.Config.InputSize, Is.EqualTo(12));
        Assert.That(weights.Positions, Is.EqualTo(PositionEmbedding.Compute(64, 6)));
        Assert.That(weights.Remarks, Has.Some.Contains("positions were computed for 12×12"));
    }

    [TestCase(7)]
    [TestCase(0)]
    [TestCase(-8)]
    [TestCase(1 << 20)]
    public void A_size_that_patches_do_not_tile_is_refused(int size) =>
        Assert.That(
            () => DiTWeightsLoader.Load(TestFiles.Golden("tiny/official.safetensors"), new DiTLoadOptions { HeadCount = 2, InputSize = size }),
            Throws.TypeOf<UsageException>());

    private string Refuse(List<TensorValues> tensors)
    {
        var path = TensorFiles.Write(_folder["changed.safetensors"], tensors);
        return Refusal.Of(path, () => DiTWeightsLoader.Load(path, s_tinyOptions).Dispose());
    }

    private string LayoutPath(string layout)
    {
        if (!layout.StartsWith("diffusers", StringComparison.Ordinal) || layout == "diffusers") return TestFiles.Golden($"tiny/{layout}");
        var folder = $"{layout}/transformer";
        File.Copy(TestFiles.Golden("tiny/diffusers/transformer/config.json"), _folder[$"{folder}/config.json"], overwrite: true);
        var tensors = TensorFiles.Read(TestFiles.Golden("tiny/diffusers"));
        if (layout == "diffusers.bin") WriteZip($"{folder}/diffusion_pytorch_model.bin", tensors);
        else if (layout == "diffusers.fp16") WriteHalf($"{folder}/diffusion_pytorch_model.fp16.safetensors", tensors);
        else WriteShards(folder, tensors);
        return _folder[layout + "/."];
    }

    private void WriteZip(string path, List<TensorValues> tensors)
    {
        var pickle = new PickleWriter().OrderedDictionary().Op('(');
        foreach (var (tensor, index) in tensors.Select((t, i) => (t.Description, i)))
        {
            long[] shape = [.. tensor.Shape.Select(extent => (long)extent)];
            long[] strides = [.. shape.Select((_, axis) => shape[(axis + 1)..].Aggregate(1L, (a, b) => a * b))];
            pickle.Text(tensor.Name).Tensor("FloatStorage", $"{index}", tensor.Count, 0, shape, strides);
        }

        _folder.Write(path, ZipWriter.Checkpoint(pickle.Op('u').ToArray(), [.. tensors.Select((t, i) => ($"{i}", t.Bytes.ToArray()))]));
    }

    private void WriteHalf(string path, List<TensorValues> tensors)
    {
        var byName = tensors.ToDictionary(t => t.Description.Name);
        AtomicFile.Write(_folder[path], stream => SafetensorsWriter.Write(
            stream,
            new Dictionary<string, string>(),
            [.. tensors.Select(t => t.Description with { Type = ElementType.F16 })],
            (tensor, output) =>
            {
                foreach (var chunk in byName[tensor.Name].Bytes.ToArray().Chunk(sizeof(float))) output.Write(BitConverter.GetBytes((Half)BitConverter.ToSingle(chunk)));
            }));
    }

    private void WriteShards(string folder, List<TensorValues> tensors)
    {
        var map = new Dictionary<string, string>();
        foreach (var (shard, index) in tensors.Chunk(20).Select((s, i) => (s, i)))
        {
            var name = $"diffusion_pytorch_model-{index}.safetensors";
            TensorFiles.Write(_folder[$"{folder}/{name}"], shard);
            foreach (var tensor in shard) map[tensor.Description.Name] = name;
        }

        _folder.Write($"{folder}/diffusion_pytorch_model.safetensors.index.json", JsonSerializer.Serialize(new { metadata = new { total_size = 0 }, weight_map = map }));
    }

    private static IEnumerable<LinearWeight> Layers(DiTWeights weights) =>
    [
        weights.PatchEmbed, weights.TimestepIn, weights.TimestepOut, weights.LabelTable,
        .. weights.Blocks.SelectMany(b => new[] { b.Modulation, b.Qkv, b.Projection, b.Fc1, b.Fc2 }),
        weights.FinalModulation, weights.FinalLinear,
    ];

    private static float[] Values(LinearWeight layer)
    {
        var values = new float[layer.Outputs * layer.Inputs];
        ((DenseWeight)layer).CopyRows(0, layer.Outputs, values);
        return values;
    }
}

using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Decoding;

namespace DiTRuntime.Tests.Backends;

/// <summary>The reference operations, put together by hand into the tiny golden DiT.</summary>
internal sealed class ReferenceGoldenTests
{
    private const int Samples = 4;
    private const int Tokens = 16;
    private const int Hidden = 64;
    private const int Heads = 2;

    private readonly GoldenTensors _expected = GoldenTensors.Load(TestFiles.Golden("tiny/expected.safetensors"));
    private readonly ReferenceBackend _backend = new();
    private readonly TestCheckpoint _weights = new(TestCheckpoint.Golden(TestFiles.Golden("tiny/official.safetensors")));

    [OneTimeTearDown]
    public void Close()
    {
        _weights.Dispose();
        _backend.Dispose();
    }

    [Test]
    public void Patch_embedding_matches()
    {
        var tokens = _backend.Allocate(ElementType.F32, Samples, Tokens, Hidden);
        _backend.PatchEmbed(
            Golden("forward.x"), Integers(0, 1, 2, 3), Layer("x_embedder.proj"), Upload([Tokens, Hidden], _weights["pos_embed"].ToArray()), tokens);
        Check(tokens, "forward.tokens0");
    }

    [Test]
    public void Blocks_and_final_layer_match()
    {
        var condition = _backend.Allocate(ElementType.F32, Samples, Hidden);
        var labels = Integers([.. _expected.I64("forward.y").Select(y => (int)y)]);
        var table = _weights["y_embedder.embedding_table.weight"];
        _backend.Condition(Golden("forward.t_emb"), Upload(table.Shape.ToArray(), table.ToArray()), labels, condition);

        var x = Golden("forward.tokens0");
        Block(x, "blocks.0", condition);
        Check(x, "forward.block0");
        Block(x, "blocks.1", condition);
        Check(x, "forward.block1");

        var normed = _backend.Allocate(ElementType.F32, Samples, Tokens, Hidden);
        _backend.NormModulate(x, Modulation("final_layer", 2, condition), 0, 1e-6f, normed);
        var patches = Linear(normed, "final_layer.linear", Epilogue.None, _backend.Allocate(ElementType.F32, Samples, Tokens, 2 * 2 * 8));
        var output = _backend.Allocate(ElementType.F32, Samples, 8, 8, 8);
        _backend.Unpatchify(patches, output);
        Check(output, "forward.out");
    }

    private void Block(Tensor x, string name, Tensor condition)
    {
        var modulation = Modulation(name, 6, condition);
        var normed = _backend.Allocate(ElementType.F32, Samples, Tokens, Hidden);
        _backend.NormModulate(x, modulation, 0, 1e-6f, normed);
        var qkv = Linear(normed, name + ".attn.qkv", Epilogue.None, _backend.Allocate(ElementType.F32, Samples, Tokens, 3 * Hidden));
        var attended = _backend.Allocate(ElementType.F32, Samples, Tokens, Hidden);
        _backend.Attention(qkv, Heads, attended);
        Linear(attended, name + ".attn.proj", Epilogue.GatedResidual(modulation, 2), x);

        _backend.NormModulate(x, modulation, 3, 1e-6f, normed);
        var wide = _backend.Allocate(ElementType.F32, Samples, Tokens, 4 * Hidden);
        Linear(normed, name + ".mlp.fc1", Epilogue.Activate(Activation.GeluTanh), wide);
        Linear(wide, name + ".mlp.fc2", Epilogue.GatedResidual(modulation, 5), x);
    }

    private Modulation Modulation(string name, int chunks, Tensor condition)
    {
        var table = _backend.Allocate(ElementType.F32, Samples, chunks * Hidden);
        return new Modulation(Linear(condition, name + ".adaLN_modulation.1", Epilogue.None, table), Integers(0, 1, 2, 3));
    }

    private Tensor Linear(Tensor input, string name, Epilogue epilogue, Tensor output)
    {
        _backend.Linear(input, Layer(name), epilogue, output);
        return output;
    }

    private PreparedLinear Layer(string name) =>
        _backend.Prepare(new DenseWeight(name, [_weights[name + ".weight"]], _weights[name + ".bias"].ToArray()));

    private Tensor Golden(string name) => Upload(_expected.Shape(name), _expected.F32(name));

    private Tensor Upload(int[] shape, float[] values)
    {
        var tensor = _backend.Allocate(ElementType.F32, shape);
        _backend.Upload<float>(values, tensor);
        return tensor;
    }

    private Tensor Integers(params int[] values)
    {
        var tensor = _backend.Allocate(ElementType.I32, values.Length);
        _backend.Upload<int>(values, tensor);
        return tensor;
    }

    private void Check(Tensor actual, string name)
    {
        var values = new float[actual.Count];
        _backend.Download(actual, values);
        Assert.That(Relative.Error(values, _expected.F32(name)), Is.LessThan(1e-6), name);
    }
}

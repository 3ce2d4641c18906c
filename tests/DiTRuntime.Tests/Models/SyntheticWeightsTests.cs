using DiTRuntime.Checkpoints;
using DiTRuntime.Models;
using DiTRuntime.Tests.Checkpoints;

namespace DiTRuntime.Tests.Models;

public sealed class SyntheticWeightsTests
{
    private static readonly DiTConfig s_small = DiTConfigs.Parse("DiT-S/8") with { HiddenSize = 96, MlpSize = 384, Depth = 2, HeadCount = 3, ClassCount = 7 };

    private readonly TestFolder _folder = new();

    [OneTimeTearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public void The_file_loads_as_the_architecture_it_was_made_for([Values(ElementType.F32, ElementType.F16, ElementType.BF16)] ElementType type)
    {
        SyntheticWeights.Write(s_small, 1, type, _folder[$"{type}.safetensors"]);

        using var weights = DiTWeightsLoader.Load(_folder[$"{type}.safetensors"]);

        Assert.That(weights.Config, Is.EqualTo(s_small));
        Assert.That(weights.Checkpoint.Tensors.Select(t => t.Type), Is.All.EqualTo(type));
    }

    [Test]
    public void A_seed_gives_one_file_and_another_seed_other_weights()
    {
        byte[] Make(ulong seed)
        {
            SyntheticWeights.Write(s_small, seed, ElementType.F16, _folder["seed.safetensors"]);
            using var checkpoint = Checkpoint.Open(_folder["seed.safetensors"]);
            return [.. checkpoint.Tensors.SelectMany(t => t.Bytes.ToArray())];
        }

        Assert.That(Make(1).SequenceEqual(Make(1)), Is.True);
        Assert.That(Make(1).SequenceEqual(Make(2)), Is.False);
    }

    [Test]
    public void Values_depend_on_the_name_and_index_alone()
    {
        SyntheticWeights.Write(s_small, 1, ElementType.F32, _folder["two.safetensors"]);
        SyntheticWeights.Write(s_small with { Depth = 3 }, 1, ElementType.F32, _folder["three.safetensors"]);
        using var two = Checkpoint.Open(_folder["two.safetensors"]);
        using var three = Checkpoint.Open(_folder["three.safetensors"]);

        foreach (var tensor in two.Tensors)
        {
            Assert.That(three.TryGet(tensor.Name, out var other), Is.True);
            Assert.That(other!.Bytes.SequenceEqual(tensor.Bytes), Is.True, tensor.Name);
        }
    }

    [Test]
    public void Weights_keep_the_scale_of_their_input()
    {
        SyntheticWeights.Write(s_small, 1, ElementType.F32, _folder["scale.safetensors"]);
        using var checkpoint = Checkpoint.Open(_folder["scale.safetensors"]);
        checkpoint.TryGet("blocks.0.attn.qkv.weight", out var tensor);

        var values = tensor!.ToArray();

        Assert.That(values.Average(), Is.Zero.Within(0.005));
        Assert.That(values.Average(v => v * v) * s_small.HiddenSize, Is.EqualTo(1).Within(0.03));
    }

    [Test]
    public void A_cancelled_file_leaves_nothing()
    {
        using var cancelled = new CancellationTokenSource();
        var progress = new CancelAtOnce(cancelled);

        Assert.That(
            () => SyntheticWeights.Write(s_small, 1, ElementType.F32, _folder["cancelled/a.safetensors"], progress, cancelled.Token),
            Throws.InstanceOf<OperationCanceledException>());
        Assert.That(Directory.EnumerateFiles(Path.GetDirectoryName(_folder["cancelled/a.safetensors"])!), Is.Empty);
    }

    [Test]
    public void Other_element_types_are_refused() =>
        Assert.That(() => SyntheticWeights.Write(s_small, 1, ElementType.I8, _folder["i8.safetensors"]), Throws.TypeOf<UsageException>());

    private sealed class CancelAtOnce(CancellationTokenSource source) : IProgress<double>
    {
        public void Report(double value) => source.Cancel();
    }
}

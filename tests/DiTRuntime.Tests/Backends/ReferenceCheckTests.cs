using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;
using DiTRuntime.Sampling;
using DiTRuntime.Tests.Decoding;

namespace DiTRuntime.Tests.Backends;

/// <summary>What every operation asks of its tensors; all backends share these checks.</summary>
internal sealed class ReferenceCheckTests
{
    private readonly ReferenceBackend _backend = new();
    private readonly ReferenceBackend _other = new();

    [OneTimeTearDown]
    public void Close()
    {
        _backend.Dispose();
        _other.Dispose();
    }

    [Test]
    public void Tensor_of_another_backend_is_refused()
    {
        var foreign = _other.Allocate(ElementType.F32, 1, 1, 3);
        Assert.That(() => _backend.Attention(foreign, 1, F(1, 1, 1)), Refused("qkv belongs to another backend"));
        Assert.That(() => _backend.Attention(F(1, 1, 3), 1, foreign), Refused("output belongs to another backend"));
        Assert.That(() => _backend.Upload<float>([1], foreign), Refused("destination belongs to another backend"));
        Assert.That(() => _backend.Download(foreign, new float[1]), Refused("source belongs to another backend"));
    }

    [Test]
    public void Layer_of_another_backend_is_refused()
    {
        using var layer = new ForeignLinear();
        Assert.That(() => _backend.Linear(F(1, 1), layer, Epilogue.None, F(1, 1)), Refused("layer was prepared by another backend"));
    }

    [Test]
    public void Attention_checks_heads_and_output()
    {
        Assert.That(() => _backend.Attention(F(1, 2, 12), 3, F(1, 2, 4)), Refused("qkv is [1,2,12], expected rows of 3·3 heads"));
        Assert.That(() => _backend.Attention(F(1, 2, 12), 2, F(1, 2, 6)), Refused("output is [1,2,6], expected [1,2,4]"));
        Assert.That(() => _backend.Attention(F(2, 12), 2, F(2, 4)), Refused("qkv is [2,12], expected 3 dimensions"));
    }

    [Test]
    public void Linear_checks_rows_and_gate()
    {
        using var layer = Layer(2, 3);
        Assert.That(() => _backend.Linear(F(1, 4), layer, Epilogue.None, F(1, 2)), Refused("input is [1,4], layer takes rows of 3"));
        Assert.That(() => _backend.Linear(F(1, 3), layer, Epilogue.None, F(1, 3)), Refused("output is [1,3], layer makes rows of 2"));
        Assert.That(() => _backend.Linear(F(4, 3), layer, Epilogue.None, F(3, 2)), Refused("output [3,2] has other rows than input [4,3]"));
        Assert.That(() => _backend.Linear(F(4, 3), layer, Gate(F(1, 4), I(2), 1), F(4, 2)), Refused("output is [4,2], expected 3 dimensions"));
        Assert.That(() => _backend.Linear(F(4, 3), layer, Gate(F(1, 4), I(3), 1), F(2, 2, 2)), Refused("rowOfSample is [3], expected [2]"));
        Assert.That(() => _backend.Linear(F(4, 3), layer, Gate(F(1, 4), I(2), 2), F(2, 2, 2)), Refused("modulation table is [1,4], expected chunks 2 to 2"));
        Assert.That(() => _backend.Linear(F(4, 3), layer, Gate(F(1, 4), F(2), 0), F(2, 2, 2)), Refused("rowOfSample holds F32, expected I32"));
        var square = F(1, 3);
        Assert.That(() => _backend.Linear(square, Layer(3, 3), Epilogue.None, square), Refused("output is the input"));
    }

    [Test]
    public void Norm_checks_chunks()
    {
        var row = I(1);
        Assert.That(() => _backend.NormModulate(F(1, 1, 2), new Modulation(F(1, 4), row), 1, 0, F(1, 1, 2)), Refused("expected chunks 1 to 2 of 2 values"));
        Assert.That(() => _backend.NormModulate(F(1, 1, 2), new Modulation(F(1, 5), row), 0, 0, F(1, 1, 2)), Refused("modulation table is [1,5]"));
        _backend.Upload<int>([7], row);
        Assert.That(() => _backend.NormModulate(F(1, 1, 2), new Modulation(F(1, 4), row), 0, 0, F(1, 1, 2)), Refused("RowOfSample holds 7"));
    }

    [Test]
    public void Patches_check_their_side()
    {
        Assert.That(() => _backend.PatchEmbed(F(1, 2, 4, 4), I(1), Layer(3, 6), F(4, 3), F(1, 4, 3)), Refused("layer has 6 values a patch, expected p·p·2"));
        Assert.That(() => _backend.PatchEmbed(F(1, 2, 4, 6), I(1), Layer(3, 8), F(4, 3), F(1, 4, 3)), Refused("latents is [1,2,4,6], expected squares"));
        Assert.That(() => _backend.PatchEmbed(F(1, 2, 4, 4), I(1), Layer(3, 8), F(5, 3), F(1, 4, 3)), Refused("positions is [5,3], expected [4,3]"));
        Assert.That(() => _backend.Unpatchify(F(1, 3, 8), F(1, 2, 4, 4)), Refused("patches is [1,3,8], expected [1,4,8]"));
    }

    [Test]
    public void Updates_check_rows_channels_and_noise()
    {
        var (prediction, latents) = (F(2, 2, 1, 1), F(1, 2, 1, 1));
        Assert.That(() => Update(prediction, latents, new(1, 0, 1, 1, 2, default)), Refused("Image holds 1"));
        Assert.That(() => Update(prediction, latents, new(0, 2, 1, 1, 2, default)), Refused("ConditionalRow holds 2"));
        Assert.That(() => Update(prediction, latents, new(0, 0, -2, 1, 2, default)), Refused("UnconditionalRow holds -2"));
        Assert.That(() => Update(prediction, latents, new(0, 0, 1, 1, 3, default)), Refused("GuidedChannels holds 3"));
        Assert.That(() => Update(prediction, latents, new(0, 0, 1, 1, 2, new(1, 1, 0.5f))), Refused("an update adds noise, but there is none"));
        Assert.That(() => Update(prediction, latents, new(0, 0, 1, 1, 2, new(1, 1, 0, true))), Refused("no variance channels"));
        Assert.That(() => Update(F(2, 3, 1, 1), latents, new(0, 0, 1, 1, 2, default)), Refused("prediction is [2,3,1,1], expected [2,2,1,1]"));
    }

    [Test]
    public void Decoder_operations_check_shapes()
    {
        using var checkpoint = new TestCheckpoint([TestTensor.Random("w", 1, 2, 1, 3, 3), TestTensor.Random("even", 1, 2, 1, 2, 2)]);
        using var layer = _backend.Prepare(new ConvolutionWeight("w", checkpoint["w"], null));
        Assert.That(() => _backend.Convolution(F(1, 4, 4, 2), layer, default, F(1, 4, 4, 2)), Refused("input is [1,4,4,2], w takes 1 channels"));
        Assert.That(
            () => _backend.Convolution(F(1, 4, 4, 1), layer, new ConvolutionOptions(UpsamplesInput: true), F(1, 4, 4, 2)),
            Refused("output is [1,4,4,2], expected [1,8,8,2]"));
        Assert.That(
            () => _backend.Convolution(F(1, 4, 4, 1), layer, new ConvolutionOptions(Residual: F(1, 4, 4, 1)), F(1, 4, 4, 2)),
            Refused("residual is [1,4,4,1], expected [1,4,4,2]"));
        Assert.That(() => _backend.Prepare(new ConvolutionWeight("even", checkpoint["even"], null)), Refused("even has a kernel of 2"));
        Assert.That(() => _backend.GroupNorm(F(1, 1, 1, 6), F(6), F(6), new GroupNormOptions(4, 0), F(1, 1, 1, 6)), Refused("do not divide into 4 groups"));
        Assert.That(() => _backend.GroupNorm(F(1, 1, 1, 6), F(6), F(5), new GroupNormOptions(3, 0), F(1, 1, 1, 6)), Refused("beta is [5], expected [6]"));
    }

    [Test]
    public void Passing_checks_allocate_nothing()
    {
        var (tokens, table, rows, output) = (F(2, 3, 4), F(1, 24), I(2), F(2, 3, 4));
        using var layer = Layer(4, 4);
        var (latents, prediction, noise) = (F(1, 2, 2, 2), F(2, 4, 2, 2), F(2, 1, 2, 2, 2));
        using var updates = _backend.Prepare([new SampleUpdate(0, 0, 1, 1, 2, new UpdateCoefficients(1, 1, 0, true))], 1);
        var (qkv, image, gamma) = (F(2, 3, 12), F(1, 2, 2, 4), F(4));
        void Check()
        {
            var modulation = new Modulation(table, rows);
            TensorCheck.NormModulate(_backend, tokens, modulation, 0, output);
            TensorCheck.Linear(_backend, tokens, layer, Epilogue.GatedResidual(modulation, 2), output);
            TensorCheck.Attention(_backend, qkv, 2, output);
            TensorCheck.GuideAndUpdate(_backend, prediction, updates.OfStep(0), noise, latents);
            TensorCheck.GroupNorm(_backend, image, gamma, gamma, new GroupNormOptions(2, 0), image);
        }

        Check();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 100; i++) Check();
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    private void Update(Tensor prediction, Tensor latents, SampleUpdate update) => _backend.GuideAndUpdate(prediction, [update], null, latents);

    private static Epilogue Gate(Tensor table, Tensor rows, int chunk) => Epilogue.GatedResidual(new Modulation(table, rows), chunk);

    private static NUnit.Framework.Constraints.ContainsConstraint Refused(string problem) => Throws.ArgumentException.With.Message.Contains(problem);

    private Tensor F(params int[] shape) => _backend.Allocate(ElementType.F32, shape);

    private Tensor I(int count) => _backend.Allocate(ElementType.I32, count);

    private PreparedLinear Layer(int outputs, int inputs)
    {
        using var checkpoint = new TestCheckpoint([TestTensor.Random("w", 1, outputs, inputs)]);
        return _backend.Prepare(new DenseWeight("layer", [checkpoint["w"]], null));
    }

    private sealed class ForeignLinear() : PreparedLinear("layer", 1, 1, activations: null)
    {
        protected override void Dispose(bool disposing)
        {
            // Holds nothing.
        }
    }
}

using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;
using DiTRuntime.Sampling;
using DiTRuntime.Tests.Cuda.Engine;

namespace DiTRuntime.Tests.Backends;

/// <summary>Views of tensors, and tables of updates that are set anew, on every backend.</summary>
[TestFixture("cpu")]
[TestFixture("reference")]
[TestFixture("emulated", Category = Cuda.TestDevice.Category)]
internal sealed class ViewTests(string name)
{
    private IDiTBackend _backend = null!;

    [OneTimeSetUp]
    public void Open() => _backend = name switch
    {
        "cpu" => CpuBackend.Create(new CpuOptions(1)),
        "reference" => new ReferenceBackend(),
        _ => EmulatedEngine.Create(),
    };

    [OneTimeTearDown]
    public void Close() => _backend?.Dispose();

    [Test]
    public void Rows_share_storage()
    {
        using var whole = Floats([4, 3], [.. Enumerable.Range(0, 12)]);
        using var rows = whole.Rows(1, 2);
        using var inner = rows.Rows(1, 1);
        Assert.That(rows.Shape.ToArray(), Is.EqualTo(new[] { 2, 3 }));
        Assert.That(Values(rows), Is.EqualTo(new float[] { 3, 4, 5, 6, 7, 8 }));
        Assert.That(Values(inner), Is.EqualTo(new float[] { 6, 7, 8 }));
        _backend.Upload<float>([70, 80], inner);
        inner.Dispose();
        Assert.That(Values(whole), Is.EqualTo(new float[] { 0, 1, 2, 3, 4, 5, 70, 80, 8, 9, 10, 11 }));
    }

    [Test]
    public void Rows_of_one_dimension_are_values()
    {
        using var whole = _backend.Allocate(ElementType.I32, 5);
        _backend.Upload<int>([0, 1, 2, 3, 4], whole);
        var values = new int[2];
        _backend.Download<int>(whole.Rows(2, 2), values);
        Assert.That(values, Is.EqualTo(new[] { 2, 3 }));
    }

    [Test]
    public void Rows_of_activations_begin_where_their_rows_do()
    {
        // Rows of halves are padded on a GPU.
        using var whole = _backend.AllocateActivations(null, 3, 2, 5);
        _backend.Upload<float>([.. Enumerable.Range(0, 30)], whole);
        Assert.That(Values(whole.Rows(1, 1)), Is.EqualTo(Enumerable.Range(10, 10).Select(v => (float)v)));
        Assert.That(Values(whole.Prefix(1)), Is.EqualTo(Enumerable.Range(0, 10).Select(v => (float)v)));
        using var quantized = _backend.AllocateActivations(new ActivationFormat(4), 3, 8);
        Assert.That(quantized.Prefix(2).Shape.ToArray(), Is.EqualTo(new[] { 2, 8 }));
        Assert.That(() => quantized.Rows(1, 1), Throws.ArgumentException.With.Message.Contains("quantized activations"));
    }

    [Test]
    public void Rows_outside_the_tensor_are_refused([Values(-1, 0, 2, 3)] int first)
    {
        using var whole = Floats([3, 2], new float[6]);
        Assert.That(() => whole.Rows(first, first == 0 ? 0 : 2), Throws.ArgumentException.With.Message.Contains("of a tensor [3,2]"));
        Assert.That(() => whole.Rows(1, int.MaxValue), Throws.ArgumentException);
    }

    [Test]
    public void A_table_that_is_set_anew_begins_at_its_first_step()
    {
        SampleUpdate Update(int image, float latent) => new(image, image, -1, 1, 0, new UpdateCoefficients(latent, Prediction: 1));
        using var table = _backend.Prepare([Update(0, 2), Update(1, 3)], 2);
        using var latents = Floats([2, 1, 2, 2], [1, 1, 1, 1, 1, 1, 1, 1]);
        using var prediction = Floats([2, 1, 2, 2], [0, 0, 0, 0, 1, 1, 1, 1]);
        _backend.GuideAndUpdate(prediction, table, null, latents);
        Assert.That(Values(latents), Is.EqualTo(new float[] { 2, 2, 2, 2, 4, 4, 4, 4 }));

        // Images in another order, and then an update that moves nothing.
        _backend.Replace(table, [Update(1, 10), Update(0, 5)]);
        _backend.GuideAndUpdate(prediction, table, null, latents);
        Assert.That(Values(latents), Is.EqualTo(new float[] { 10, 10, 10, 10, 41, 41, 41, 41 }));
        _backend.Replace(table, [Update(1, 0), Update(0, 1) with { Coefficients = new UpdateCoefficients(1, 0) }]);
        _backend.GuideAndUpdate(prediction, table, null, latents);
        Assert.That(Values(latents), Is.EqualTo(new float[] { 10, 10, 10, 10, 1, 1, 1, 1 }));
        Assert.That(() => _backend.Replace(table, [Update(0, 1)]), Throws.ArgumentException.With.Message.Contains("1 updates for a table of 2"));
    }

    private Tensor Floats(int[] shape, float[] values)
    {
        var tensor = _backend.Allocate(ElementType.F32, shape);
        _backend.Upload<float>(values, tensor);
        return tensor;
    }

    private float[] Values(Tensor tensor)
    {
        var values = new float[tensor.Count];
        _backend.Download<float>(tensor, values);
        return values;
    }
}

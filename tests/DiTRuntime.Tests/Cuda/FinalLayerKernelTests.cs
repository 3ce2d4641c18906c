using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Checkpoints;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;
using DiTRuntime.Tests.Backends;

namespace DiTRuntime.Tests.Cuda;

[Category(TestDevice.Category)]
internal sealed class FinalLayerKernelTests
{
    private const float Epsilon = 1e-6f;
    private readonly ReferenceBackend _reference = new();
    private readonly RandomWeights _random = new(46);

    [OneTimeTearDown]
    public void Close()
    {
        _reference.Dispose();
        _random.Dispose();
    }

    // Tokens beyond one block and no multiple of 8; a depth of more chunks than warps, the last one ragged; columns of one pass and of two.
    [TestCase(168, 2, 4, 8, 10)]
    [TestCase(40, 4, 3, 3, 12)]
    public void Three_steps_match_the_reference(int hidden, int patch, int channels, int outChannels, int side)
    {
        var scene = SamplerScene.Create(_random, imageCount: 5, channels, outChannels, side);
        var layer = new Layer(_random, scene, hidden, patch);
        using var latents = _reference.Allocate(ElementType.F32, scene.ImageCount, channels, side, side);
        using var prediction = _reference.Allocate(ElementType.F32, scene.RowCount, outChannels, side, side);
        _reference.Upload<float>(scene.Latents, latents);
        using var state = scene.Upload();
        var (expected, expectedPrediction) = (new float[latents.Count], new float[prediction.Count]);
        for (var step = 0; step < SamplerScene.Steps; step++)
        {
            var actualPrediction = layer.Run(state);
            layer.Predict(_reference, step, prediction);
            scene.Advance(_reference, step, prediction, latents);
            _reference.Download<float>(latents, expected);
            _reference.Download<float>(prediction, expectedPrediction);
            Assert.That(state.Counters, Is.EqualTo(new[] { step + 1, 0 }));
            // The modulated tokens are rounded to f16, 2⁻¹² of each in the mean square; everything else is fp32.
            Assert.That(Relative.Error(actualPrediction, expectedPrediction), Is.LessThan(4e-4));
            Assert.That(Relative.Error(state.Latents, expected), Is.LessThan(1e-3));
        }
    }

    [TestCase(3)]
    [TestCase(4)]
    public void An_image_is_the_same_alone_and_in_a_batch(int image)
    {
        var scene = SamplerScene.Create(_random, imageCount: 5, channels: 4, outChannels: 8, side: 10);
        var layer = new Layer(_random, scene, hidden: 168, patch: 2);
        var (single, rows) = scene.Alone(image);
        using var batch = scene.Upload();
        using var alone = single.Upload();
        var own = layer.Of(single, rows);
        for (var step = 0; step < SamplerScene.Steps; step++)
        {
            layer.Run(batch);
            own.Run(alone);
        }

        Assert.That(alone.Latents, Is.EqualTo(scene.Image(batch.Latents, image)));
    }

    [Test]
    public void Shapes_that_do_not_fit_are_refused()
    {
        var kernel = new FinalLayerKernel(TestDevice.Library);
        Assert.That(
            () => kernel.Launch(TestDevice.Stream, new FinalLayerLaunch(new FinalLayerShape(168, 2, 4, 8), new FinalLayerArguments { Side = 9 })),
            Throws.ArgumentException.With.Message.Contains("side 9"));
        Assert.That(() => FinalLayerKernel.Spec(new FinalLayerShape(100, 2, 4, 8)), Throws.TypeOf<GpuUnavailableException>().With.Message.Contains("not 100"));
    }

    /// <summary>Weights and inputs of a final layer, and both ways through it.</summary>
    private sealed class Layer
    {
        private readonly SamplerScene _scene;
        private readonly int _hidden, _patch, _stride;
        private readonly float[] _tokens, _weight, _bias, _table;
        private readonly int[] _rows;
        private readonly DenseWeight _linear;

        public Layer(RandomWeights random, SamplerScene scene, int hidden, int patch)
        {
            var outputs = patch * patch * scene.OutChannels;
            (_scene, _hidden, _patch) = (scene, hidden, patch);
            // Values behind the two chunks, as in a table that holds more than one layer.
            _stride = 2 * hidden + 8;
            _tokens = HalfValues.Rounded(Array.ConvertAll(random.Values(scene.RowCount * TokenCount * hidden, scale: 4), v => v + 2));
            _weight = HalfValues.Rounded(random.Values(outputs * hidden, scale: 0.1f));
            _bias = random.Values(outputs);
            _table = random.Values(7 * _stride, scale: 0.5f);
            _rows = [.. Enumerable.Range(0, SamplerScene.Steps * scene.RowCount).Select(i => i * 5 % 7)];
            _linear = new DenseWeight("final", [random.Tensor("final.weight", _weight, outputs, hidden)], _bias);
        }

        private Layer(Layer whole, SamplerScene scene, int[] rows)
        {
            (_scene, _hidden, _patch, _stride) = (scene, whole._hidden, whole._patch, whole._stride);
            (_weight, _bias, _table, _linear) = (whole._weight, whole._bias, whole._table, whole._linear);
            var rowValues = TokenCount * _hidden;
            _tokens = [.. rows.SelectMany(row => whole._tokens[(row * rowValues)..((row + 1) * rowValues)])];
            _rows = [.. Enumerable.Range(0, SamplerScene.Steps).SelectMany(step => rows.Select(row => whole._rows[step * whole._scene.RowCount + row]))];
        }

        private int TokenCount => _scene.Side / _patch * (_scene.Side / _patch);

        /// <summary>The same layer on some of the rows.</summary>
        public Layer Of(SamplerScene scene, int[] rows) => new(this, scene, rows);

        /// <summary>One launch; the prediction.</summary>
        public float[] Run(SamplerScene.DeviceState state)
        {
            using var tokens = TestDevice.UploadHalf(_tokens);
            using var weight = TestDevice.UploadHalf(_weight);
            using var bias = TestDevice.Upload<float>(_bias);
            using var table = TestDevice.Upload<float>(_table);
            using var rows = TestDevice.Upload<int>(_rows);
            var count = _scene.RowCount * _scene.OutChannels * _scene.Side * _scene.Side;
            using var prediction = TestDevice.Device.Allocate(sizeof(float) * (long)count);
            new FinalLayerKernel(TestDevice.Library).Launch(TestDevice.Stream, new FinalLayerLaunch(
                new FinalLayerShape(_hidden, _patch, _scene.Channels, _scene.OutChannels),
                new FinalLayerArguments
                {
                    Tokens = tokens.Pointer,
                    Modulation = new DeviceModulation
                    {
                        Table = table.Pointer,
                        Rows = rows.Pointer,
                        Step = state.Sampler.Step,
                        Stride = _stride,
                        SampleCount = _scene.RowCount,
                    },
                    Weight = weight.Pointer,
                    Bias = bias.Pointer,
                    Sampler = state.Sampler,
                    Prediction = prediction.Pointer,
                    Side = _scene.Side,
                    Epsilon = Epsilon,
                }));
            return TestDevice.Download<float>(prediction, count);
        }

        /// <summary>The prediction of a step on the reference backend.</summary>
        public void Predict(ReferenceBackend reference, int step, Tensor prediction)
        {
            var rowCount = _scene.RowCount;
            using var tokens = reference.Allocate(ElementType.F32, rowCount, TokenCount, _hidden);
            using var table = reference.Allocate(ElementType.F32, 7, 2 * _hidden);
            using var rows = reference.Allocate(ElementType.I32, rowCount);
            using var patches = reference.Allocate(ElementType.F32, rowCount, TokenCount, _bias.Length);
            using var layer = reference.Prepare(_linear);
            reference.Upload<float>(_tokens, tokens);
            reference.Upload<float>([.. _table.Chunk(_stride).SelectMany(row => row[..(2 * _hidden)])], table);
            reference.Upload<int>(_rows.AsSpan(step * rowCount, rowCount), rows);
            reference.NormModulate(tokens, new Modulation(table, rows), 0, Epsilon, tokens);
            reference.Linear(tokens, layer, Epilogue.None, patches);
            reference.Unpatchify(patches, prediction);
        }
    }
}

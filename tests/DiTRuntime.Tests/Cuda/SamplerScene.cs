using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Checkpoints;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Sampling;
using DiTRuntime.Tests.Backends;

namespace DiTRuntime.Tests.Cuda;

/// <summary>
/// Images on their way through three steps: with and without guidance, with learned, fixed and no noise; the entries of a step in another order than the images.
/// </summary>
internal sealed class SamplerScene
{
    public const int Steps = 3;

    private SamplerScene(int imageCount, int rowCount, int channels, int outChannels, int side, SampleUpdate[][] updates, float[] latents, float[] noise)
    {
        (ImageCount, RowCount, Channels, OutChannels, Side) = (imageCount, rowCount, channels, outChannels, side);
        (Updates, Latents, Noise) = (updates, latents, noise);
    }

    public int ImageCount { get; }

    public int RowCount { get; }

    public int Channels { get; }

    public int OutChannels { get; }

    public int Side { get; }

    /// <summary>[steps][images].</summary>
    public SampleUpdate[][] Updates { get; }

    /// <summary>[images, C, S, S].</summary>
    public float[] Latents { get; }

    /// <summary>[2, images, C, S, S].</summary>
    public float[] Noise { get; }

    public int ImageValues => Channels * Side * Side;

    public static SamplerScene Create(RandomWeights random, int imageCount, int channels, int outChannels, int side)
    {
        var learned = outChannels == 2 * channels;
        var updates = new SampleUpdate[Steps][];
        var rowCount = 0;
        for (var step = 0; step < Steps; step++)
        {
            updates[step] = new SampleUpdate[imageCount];
            rowCount = 0;
            for (var image = 0; image < imageCount; image++)
            {
                var conditional = rowCount++;
                var unconditional = image % 3 == 1 ? -1 : rowCount++;
                // By step and image in turn: no noise, a fixed sigma, a learned one (fixed again where nothing is learned).
                var kind = (step + image) % 3;
                var (latent, prediction) = (0.9f + 0.01f * image, -0.3f - 0.1f * step);
                updates[step][imageCount - 1 - image] = new SampleUpdate(image, conditional, unconditional, 1.5f + image, 3, kind switch
                {
                    0 => new UpdateCoefficients(latent, prediction),
                    2 when learned => new UpdateCoefficients(latent, prediction, 0, true, -3 - image, -1 + 0.2f * step),
                    _ => new UpdateCoefficients(latent, prediction, 0.25f),
                });
            }
        }

        var values = imageCount * channels * side * side;
        return new SamplerScene(imageCount, rowCount, channels, outChannels, side, updates, random.Values(values), random.Values(2 * values, scale: 2));
    }

    /// <summary>One of the images without the others, and which of the rows are its own.</summary>
    public (SamplerScene Scene, int[] Rows) Alone(int image)
    {
        int[] rows = [];
        var updates = new SampleUpdate[Steps][];
        for (var step = 0; step < Steps; step++)
        {
            var update = Updates[step].Single(u => u.Image == image);
            rows = update.UnconditionalRow < 0 ? [update.ConditionalRow] : [update.ConditionalRow, update.UnconditionalRow];
            updates[step] = [update with { Image = 0, ConditionalRow = 0, UnconditionalRow = rows.Length == 1 ? -1 : 1 }];
        }

        float[] noise = [.. Image(Noise, image), .. Image(Noise, ImageCount + image)];
        return (new SamplerScene(1, rows.Length, Channels, OutChannels, Side, updates, Image(Latents, image), noise), rows);
    }

    public float[] Image(float[] values, int image) => values[(image * ImageValues)..((image + 1) * ImageValues)];

    /// <summary>A step on the reference backend; half step % 2 of the noise.</summary>
    public void Advance(ReferenceBackend reference, int step, Tensor prediction, Tensor latents)
    {
        using var noise = reference.Allocate(ElementType.F32, ImageCount, Channels, Side, Side);
        var half = ImageCount * ImageValues;
        reference.Upload<float>(Noise.AsSpan(step % 2 * half, half), noise);
        reference.GuideAndUpdate(prediction, Updates[step], noise, latents);
    }

    /// <summary>All of it on the device.</summary>
    public DeviceState Upload() => new(this);

    internal sealed class DeviceState : IDisposable
    {
        private readonly SamplerScene _scene;
        private readonly GpuBuffer _updates, _noise, _latents, _counters;

        public DeviceState(SamplerScene scene)
        {
            _scene = scene;
            _updates = TestDevice.Upload<DeviceSampleUpdate>([.. scene.Updates.SelectMany(step => step).Select(u => new DeviceSampleUpdate(u))]);
            _noise = TestDevice.Upload<float>(scene.Noise);
            _latents = TestDevice.Upload<float>(scene.Latents);
            _counters = TestDevice.Upload<int>([0, 0]);
        }

        public DeviceSampler Sampler => new()
        {
            Updates = _updates.Pointer,
            Noise = _noise.Pointer,
            Latents = _latents.Pointer,
            Step = _counters.Pointer,
            Ticket = _counters.Pointer + sizeof(int),
            UpdateCount = _scene.ImageCount,
            ImageCount = _scene.ImageCount,
        };

        public float[] Latents => TestDevice.Download<float>(_latents, _scene.Latents.Length);

        /// <summary>The step, and the ticket that must be back at 0.</summary>
        public int[] Counters => TestDevice.Download<int>(_counters, 2);

        public void Dispose()
        {
            _updates.Dispose();
            _noise.Dispose();
            _latents.Dispose();
            _counters.Dispose();
        }
    }
}

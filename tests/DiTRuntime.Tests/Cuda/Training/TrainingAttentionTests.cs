using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Tests.Cuda.Training;

/// <summary>Attention in fp32 and its gradient against plain loops in double precision.</summary>
[Category(TestDevice.Category)]
internal sealed class TrainingAttentionTests
{
    private const int Samples = 2;

    // Tokens, heads, head size: on every side of 16 rows a warp, 32 others and 64 of a block; heads of 2, 3, 18, 25 units of 4; two and four warps.
    [TestCase(1, 1, 12)]
    [TestCase(5, 3, 8)]
    [TestCase(17, 3, 12)]
    [TestCase(64, 1, 72)]
    [TestCase(70, 1, 72)]
    [TestCase(33, 1, 100)]
    public void Outputs_and_gradients_match(int tokens, int heads, int size)
    {
        using var scene = new TrainingScene();
        var width = heads * size;
        var (qkv, values) = scene.Normal(1, Samples, tokens, 3 * width);
        var (outputGradient, dy) = scene.Normal(2, Samples, tokens, width);
        var (y, inputGradient) = (scene.Of(new float[Samples * tokens * width], Samples, tokens, width), scene.Normal(3, Samples, tokens, 3 * width).Tensor);
        scene.Backend.AttentionForward(qkv, heads, y);
        scene.Backend.AttentionGradient(outputGradient, qkv, heads, inputGradient);

        var (expected, gradient) = Expected(values, dy, tokens, heads, size);
        using (Assert.EnterMultipleScope())
        {
            // Logits of size 1 to 5 with errors of 2^-22 of that, probabilities and sums of as much again.
            Assert.That(Relative.Error(scene.Read(y), expected), Is.LessThan(1e-6));
            Assert.That(Relative.Error(scene.Read(inputGradient), gradient), Is.LessThan(1e-6));
            Assert.That(scene.Read(inputGradient).Zip(gradient, (a, b) => Math.Abs(a - b)).Max(), Is.LessThan(2e-5), "each value");
        }
    }

    [Test]
    public void Large_logits_leave_one_key()
    {
        using var scene = new TrainingScene();
        const int Tokens = 40, Size = 8;
        // Token t's q and k are 30 in a place of their own (mod 8) and grow with t, so that the largest logit comes last.
        var values = new float[Tokens * 3 * Size];
        for (var t = 0; t < Tokens; t++)
            for (var part = 0; part < 3; part++) values[(t * 3 + part) * Size + t % Size] = part == 1 ? 30 + t : 30;
        var qkv = scene.Of(values, 1, Tokens, 3 * Size);
        var y = scene.Of(new float[Tokens * Size], 1, Tokens, Size);
        var inputGradient = scene.Of(new float[values.Length], 1, Tokens, 3 * Size);
        scene.Backend.AttentionForward(qkv, 1, y);
        scene.Backend.AttentionGradient(y, qkv, 1, inputGradient);

        var output = scene.Read(y);
        for (var i = 0; i < output.Length; i++) Assert.That(output[i], Is.EqualTo(i / Size % Size == i % Size ? 30 : 0).Within(1e-5));
        var (_, gradient) = Expected(values, output, Tokens, 1, Size, samples: 1);
        Assert.That(Relative.Error(scene.Read(inputGradient), gradient), Is.LessThan(1e-5));
    }

    [Test]
    public void Heads_it_cannot_take_are_refused()
    {
        using var scene = new TrainingScene();
        const string Refusal = "training attention on the GPU asks for rows of a multiple of 4 values, at most 128, not ";
        foreach (var size in new[] { 6, 132 })
        {
            var (qkv, y) = (scene.Of(new float[3 * size], 1, 1, 3 * size), scene.Of(new float[size], 1, 1, size));
            Assert.That(() => scene.Backend.AttentionForward(qkv, 1, y), Throws.InstanceOf<GpuUnavailableException>().With.Message.Contains(Refusal + size));
        }
    }

    private static (float[] Output, float[] Gradient) Expected(float[] qkv, float[] dy, int tokens, int heads, int size, int samples = Samples)
    {
        var width = heads * size;
        var (output, gradient) = (new double[samples * tokens * width], new double[qkv.Length]);
        for (var head = 0; head < samples * heads; head++)
        {
            int Place(int part, int token, int i) => ((head / heads * tokens + token) * 3 + part) * width + head % heads * size + i;
            int Out(int token, int i) => (head / heads * tokens + token) * width + head % heads * size + i;
            for (var query = 0; query < tokens; query++)
            {
                var p = new double[tokens];
                var dp = new double[tokens];
                for (var key = 0; key < tokens; key++)
                    for (var i = 0; i < size; i++)
                    {
                        p[key] += (double)qkv[Place(0, query, i)] * qkv[Place(1, key, i)] / Math.Sqrt(size);
                        dp[key] += (double)dy[Out(query, i)] * qkv[Place(2, key, i)];
                    }

                var largest = p.Max();
                p = Array.ConvertAll(p, logit => Math.Exp(logit - largest));
                var sum = p.Sum();
                p = Array.ConvertAll(p, v => v / sum);
                var mean = p.Zip(dp, (a, b) => a * b).Sum();
                for (var key = 0; key < tokens; key++)
                    for (var i = 0; i < size; i++)
                    {
                        var ds = p[key] * (dp[key] - mean) / Math.Sqrt(size);
                        output[Out(query, i)] += p[key] * qkv[Place(2, key, i)];
                        gradient[Place(0, query, i)] += ds * qkv[Place(1, key, i)];
                        gradient[Place(1, key, i)] += ds * qkv[Place(0, query, i)];
                        gradient[Place(2, key, i)] += p[key] * dy[Out(query, i)];
                    }
            }
        }

        return (Array.ConvertAll(output, v => (float)v), Array.ConvertAll(gradient, v => (float)v));
    }
}

using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Models;

namespace DiTRuntime.Tests.Models;

/// <summary>The golden DiT on a backend.</summary>
internal sealed class TinyModel : IDisposable
{
    public static readonly string[] Layouts = ["official.pt", "train.pt", "official.safetensors", "diffusers", "diffusers/transformer"];

    private readonly DiTWeights _weights;

    public TinyModel(IDiTBackend backend, string layout = "official.safetensors", Compatibility compatibility = Compatibility.Official)
    {
        Backend = backend;
        // The flat state dicts name no head count, and no published model has this size.
        _weights = DiTWeightsLoader.Load(Path.Combine(TestFiles.Golden("tiny"), layout), new DiTLoadOptions { HeadCount = 2 });
        Model = new DiTModel(_weights, backend, compatibility);
    }

    public static GoldenTensors Expected { get; } = GoldenTensors.Load(TestFiles.Golden("tiny/expected.safetensors"));

    public IDiTBackend Backend { get; }

    public DiTModel Model { get; }

    public static IDiTBackend CreateBackend(string name) => name == "reference" ? new ReferenceBackend() : CpuBackend.Create(new CpuOptions(2));

    /// <summary>One raw forward pass; a sample per latent.</summary>
    public float[] Forward(float[] latents, int[] timesteps, int[] labels, Action<int, Tensor>? observer = null)
    {
        using var state = Model.CreateState(timesteps.Length, timesteps.Length);
        using var table = new ModulationTable(Backend, Model.Config, timesteps.Length);
        var rows = Enumerable.Range(0, timesteps.Length).ToArray();
        Backend.Upload<float>(latents, state.Latents);
        Backend.Upload<int>(rows, state.ImageOfSample);
        Backend.Upload<int>(rows, state.ModulationRowOfSample);
        Model.Conditioner.Fill(timesteps, labels, table);
        Model.Forward(state, table, observer);
        return Read(state.Prediction);
    }

    public float[] Read(Tensor tensor)
    {
        var values = new float[tensor.Count];
        Backend.Download<float>(tensor, values);
        return values;
    }

    /// <summary>The tokens after the embedding and after each block are the published ones.</summary>
    public void AssertBlocks(double tolerance)
    {
        string[] names = ["forward.tokens0", "forward.block0", "forward.block1"];
        var seen = 0;
        Forward(Expected.F32("forward.x"), Integers("forward.t"), Integers("forward.y"), (block, tokens) =>
        {
            Assert.That(Relative.Error(Read(tokens), Expected.F32(names[block + 1])), Is.LessThanOrEqualTo(tolerance), names[block + 1]);
            seen++;
        });
        Assert.That(seen, Is.EqualTo(names.Length));
    }

    /// <summary>Each of four samples comes out alone as it does among the others.</summary>
    public void AssertSamplesAreIndependent()
    {
        var (x, t, y) = (Expected.F32("forward.x"), Integers("forward.t"), Integers("forward.y"));
        var together = Forward(x, t, y);
        for (var i = 0; i < 4; i++)
        {
            var alone = Forward(x[(i * x.Length / 4)..((i + 1) * x.Length / 4)], [t[i]], [y[i]]);
            Assert.That(alone.AsSpan().SequenceEqual(together.AsSpan(i * alone.Length, alone.Length)), $"sample {i}");
        }
    }

    /// <summary>Whole numbers of the goldens.</summary>
    public static int[] Integers(string name) => [.. Expected.I64(name).Select(v => (int)v)];

    public void Dispose()
    {
        Model.Dispose();
        _weights.Dispose();
        Backend.Dispose();
    }
}

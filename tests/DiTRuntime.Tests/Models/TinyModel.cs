using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Backends.Cpu.Reference;
using DiTRuntime.Models;

namespace DiTRuntime.Tests.Models;

/// <summary>The golden DiT on a backend.</summary>
internal sealed class TinyModel : IDisposable
{
    public static readonly string[] Layouts = ["official.pt", "train.pt", "official.safetensors", "diffusers", "diffusers/transformer"];

    public TinyModel(IDiTBackend backend, string layout = "official.safetensors", Compatibility compatibility = Compatibility.Official)
    {
        Backend = backend;
        // The flat state dicts name no head count, and no published model has this size.
        using var weights = DiTWeightsLoader.Load(Path.Combine(TestFiles.Golden("tiny"), layout), new DiTLoadOptions { HeadCount = 2 });
        Model = new DiTModel(weights, backend, compatibility);
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

    public void Dispose()
    {
        Model.Dispose();
        Backend.Dispose();
    }
}

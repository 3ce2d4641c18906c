using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using DiTRuntime.Checkpoints;

namespace DiTRuntime.Tests.Decoding;

/// <summary>A checkpoint made of values at hand, so that a test can rename, drop, reshape or spoil any tensor.</summary>
internal sealed class TestCheckpoint : ICheckpoint
{
    private readonly Dictionary<string, CheckpointTensor> _byName;
    private readonly MappedFile _mapping;

    public TestCheckpoint(IEnumerable<TestTensor> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        Metadata = metadata ?? new Dictionary<string, string>();
        var list = tensors.ToList();
        var bytes = list.SelectMany(t => MemoryMarshal.AsBytes<float>(t.Values).ToArray()).ToArray();
        var file = System.IO.Path.GetTempFileName();
        File.WriteAllBytes(file, bytes.Length == 0 ? [0] : bytes);
        _mapping = MappedFile.Open(file);
        File.Delete(file);

        long offset = 0;
        var result = new List<CheckpointTensor>();
        foreach (var tensor in list)
        {
            result.Add(new CheckpointTensor(_mapping, tensor.Name, ElementType.F32, tensor.Shape, offset));
            offset += tensor.Values.Length * sizeof(float);
        }

        Tensors = result;
        _byName = result.ToDictionary(t => t.Name);
    }

    public string Path => _mapping.Path;

    public string Kind => "test";

    public IReadOnlyDictionary<string, string> Metadata { get; }

    public IReadOnlyList<CheckpointTensor> Tensors { get; }

    public CheckpointTensor this[string name] => _byName[name];

    /// <summary>The tensors of a golden file.</summary>
    public static List<TestTensor> Golden(string path)
    {
        var golden = GoldenTensors.Load(path);
        return [.. golden.Names.Select(name => new TestTensor(name, golden.Shape(name), golden.F32(name)))];
    }

    public bool TryGet(string name, [NotNullWhen(true)] out CheckpointTensor? tensor) => _byName.TryGetValue(name, out tensor);

    public void Dispose() => _mapping.Dispose();
}

/// <summary>A tensor of a <see cref="TestCheckpoint"/>.</summary>
internal sealed record TestTensor(string Name, int[] Shape, float[] Values)
{
    /// <summary>Random values in ±0.5·scale, the same for a name every time.</summary>
    public static TestTensor Random(string name, float scale, params int[] shape)
    {
        var random = new Random(name.Sum(c => c));
        var values = new float[shape.Aggregate(1, (product, extent) => product * extent)];
        for (var i = 0; i < values.Length; i++) values[i] = scale * (random.NextSingle() - 0.5f);
        return new TestTensor(name, shape, values);
    }
}

using System.Diagnostics;
using System.Text;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;
using DiTRuntime.Tests.Cli;

namespace DiTRuntime.Tests.Checkpoints;

/// <summary>
/// Thousands of damaged files of each format, opened, loaded and read to the last element: nothing but the project's own exceptions
/// escapes, nothing hangs, and nothing allocates beyond the file's size and 64 MB.
/// </summary>
[Parallelizable(ParallelScope.All)]
public sealed class FuzzTests
{
    private const int CaseCount = 2000;
    private const long SpareBytes = 64 << 20;
    private const string Shard = "shard.safetensors";

    private static readonly TimeSpan s_caseLimit = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_limit = TimeSpan.FromMinutes(2);

    [Test]
    public void Safetensors() => Fuzz("a.safetensors", ("a.safetensors", MiniatureDiT.Safetensors()));

    [Test]
    public void Packed() => Fuzz("a.safetensors", ("a.safetensors", MiniatureDiT.Packed(packAll: false)));

    [Test]
    public void Packed_in_all_layers() => Fuzz("a.safetensors", ("a.safetensors", MiniatureDiT.Packed(packAll: true)));

    /// <summary>Most of a small packed file is its header; here the damage is kept to the JSON that describes the model.</summary>
    [Test]
    public void Packed_metadata([Values("ditruntime.config", "ditruntime.layers")] string key)
    {
        var original = MiniatureDiT.Packed(packAll: false);
        Fuzz("a.safetensors", ("a.safetensors", original), seed =>
        {
            var file = RawSafetensors.Parse(original);
            return file.Metadata(key, Encoding.Latin1.GetString(new Mutation(seed).Apply(Encoding.Latin1.GetBytes(file.Metadata(key))))).ToArray();
        }, mayBeStrict: true);
    }

    [Test]
    public void PyTorch() => Fuzz("a.pt", ("a.pt", MiniatureDiT.Zip(training: false)));

    [Test]
    public void PyTorch_training() => Fuzz("a.pt", ("a.pt", MiniatureDiT.Zip(training: true)));

    [Test]
    public void Gguf() => Fuzz("a.gguf", ("a.gguf", MiniatureDiT.Gguf()));

    [Test]
    public void Sharded_index() =>
        Fuzz("a.index.json", ("a.index.json", MiniatureDiT.Index(Shard)), (Shard, MiniatureDiT.Safetensors()));

    [Test]
    public void Shard_of_an_index() =>
        Fuzz("a.index.json", (Shard, MiniatureDiT.Safetensors()), ("a.index.json", MiniatureDiT.Index(Shard)));

    [Test]
    public void Diffusers_configuration() => FuzzPipeline(damaged: 0);

    [Test]
    public void Diffusers_model_index() => FuzzPipeline(damaged: 1);

    [Test]
    public void Diffusers_weights() => FuzzPipeline(damaged: 2);

    private static void FuzzPipeline(int damaged)
    {
        (string, byte[])[] files =
        [
            ("pipe/transformer/config.json", MiniatureDiT.DiffusersConfig()),
            ("pipe/model_index.json", MiniatureDiT.ModelIndex()),
            ("pipe/transformer/diffusion_pytorch_model.safetensors", MiniatureDiT.Safetensors(diffusers: true)),
        ];
        Fuzz("pipe", files[damaged], [.. files.Where((_, i) => i != damaged)]);
    }

    /// <summary>Damages one file, with the others beside it, and opens a path.</summary>
    private static void Fuzz(string path, (string Name, byte[] Content) damaged, params (string Name, byte[] Content)[] others) =>
        Fuzz(path, damaged, seed => new Mutation(seed).Apply(damaged.Content), mayBeStrict: false, others);

    private static void Fuzz(string path, (string Name, byte[] Content) damaged, Func<int, byte[]> mutate, bool mayBeStrict, params (string Name, byte[] Content)[] others)
    {
        using var folder = new TestFolder();
        foreach (var (name, content) in others) folder.Write(name, content);
        folder.Write(damaged.Name, damaged.Content);
        var target = Path.Combine(folder.Root, path);
        ReadEverything(target);

        var current = 0;
        var refused = 0;
        Exception? failure = null;
        var worker = new Thread(() =>
        {
            try
            {
                for (current = 0; current < CaseCount; current++)
                {
                    folder.Write(damaged.Name, mutate(current));
                    if (IsRefused(target, damaged.Content.Length)) refused++;
                }
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        worker.IsBackground = true;
        worker.Start();
        Assert.That(worker.Join(s_limit), Is.True, $"mutation {current} hangs");
        Assert.That(failure, Is.Null, $"mutation {current}");
        // Both outcomes must occur, or the mutations are too wild or too tame to show anything; but a reader may know every byte of its text.
        Assert.That(refused, Is.InRange(CaseCount / 10, mayBeStrict ? CaseCount : CaseCount - 1));
    }

    private static bool IsRefused(string path, int fileLength)
    {
        var clock = Stopwatch.StartNew();
        var before = GC.GetAllocatedBytesForCurrentThread();
        var refused = false;
        try
        {
            ReadEverything(path);
        }
        catch (DiTException e) when (e is InvalidFileException or UsageException)
        {
            refused = true;
            Assert.That(e.Message, Does.Not.Contain('\n'));
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(fileLength + SpareBytes));
        Assert.That(clock.Elapsed, Is.LessThan(s_caseLimit));
        return refused;
    }

    private static void ReadEverything(string path)
    {
        using (var checkpoint = Checkpoint.Open(path))
        {
            foreach (var tensor in checkpoint.Tensors) tensor.ToArray();
        }

        using var weights = DiTWeightsLoader.Load(path, new DiTLoadOptions { HeadCount = 2 });
        foreach (var layer in weights.Layers)
        {
            var row = new float[layer.Inputs];
            for (var i = 0; i < layer.Outputs; i++) layer.CopyRows(i, 1, row);
        }
    }
}

using System.Globalization;
using DiTRuntime.Backends;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda.Benchmarks;

/// <summary>
/// Times the engine's kernels one by one, with the epilogues they have in a block. Each launch of a graph takes the next of several sets of buffers, which together are more
/// than twice the second cache: nothing is found there that a model would not find.
/// </summary>
/// <param name="device">Where it runs.</param>
/// <param name="backend">The engine on it.</param>
/// <param name="settings">Shapes.</param>
/// <param name="product">The vendor's product, or null.</param>
internal sealed partial class KernelTimes(IGpuDevice device, CudaBackend backend, BenchSettings settings, IHalfProduct? product)
{
    private const int MinLaunches = 8;
    private const int MaxCopies = 64;

    private readonly StreamTimer _timer = new(device, backend.Stream);
    private readonly SyntheticLayers _layers = new();
    private readonly RandomMemory _random = new(backend);

    /// <summary>What the device reaches: a copy, and a square product of halves.</summary>
    /// <param name="library">The product's library, or why there is none.</param>
    public Roof MeasureRoof(string library)
    {
        var bytes = Math.Min(settings.RoofBytes, device.Memory.FreeBytes / 4);
        using var owned = new ResourceList();
        var (from, to) = (owned.Add(device.Allocate(bytes)).Pointer, owned.Add(device.Allocate(bytes)).Pointer);
        _random.FillHalves(from, bytes / 2);
        var copy = _timer.Launches([() => backend.Stream.Copy(from, to, bytes)], settings.Rounds);
        var side = settings.RoofSide;
        return new Roof(
            2 * bytes / (copy.Median * 1e-3), bytes, Vendor(side, side, side) is { } time ? 2.0 * side * side * side / (time.Median * 1e-3) : null, side, library);
    }

    /// <summary>Every kernel at every number of rows.</summary>
    /// <param name="note">Told what is left out, and why.</param>
    public IEnumerable<KernelTime> Measure(Action<string> note)
    {
        foreach (var rows in settings.RowCounts)
        {
            foreach (var measured in Products(rows).Concat(Others(rows)))
            {
                KernelTime? time = null;
                try
                {
                    backend.Cancellation.ThrowIfCancellationRequested();
                    time = measured();
                }
                catch (GpuOutOfMemoryException e)
                {
                    note($"left out, M = {rows}: {e.Message}");
                }

                if (time is not null) yield return time;
            }
        }
    }

    /// <summary>The four layers of a block in every format.</summary>
    private IEnumerable<Func<KernelTime>> Products(int rows)
    {
        var config = settings.Config;
        (string Name, int Outputs, int Inputs)[] layers =
        [
            ("qkv", 3 * config.HiddenSize, config.HiddenSize), ("proj", config.HiddenSize, config.HiddenSize),
            ("fc1", config.MlpSize, config.HiddenSize), ("fc2", config.HiddenSize, config.MlpSize),
        ];
        var group = settings.Groups[0];
        LayerFormat[] formats =
        [
            LayerFormat.Dense, .. settings.Groups.Select(size => new LayerFormat(new GroupFormat(8, size), ActivationMode.Dynamic)),
            new(new GroupFormat(4, group), ActivationMode.Dynamic), new(new GroupFormat(4, group)), .. settings.Codebooks,
        ];
        foreach (var (name, outputs, inputs) in layers)
        {
            var vendor = new Lazy<TimeSpread?>(() => Vendor(rows, outputs, inputs));
            foreach (var format in formats)
                if (settings.Takes($"{name} {Name(format)} {rows}")) yield return () => Product(name, outputs, inputs, format, rows, vendor.Value);
        }
    }

    private KernelTime Product(string name, int outputs, int inputs, LayerFormat format, int rows, TimeSpread? vendor)
    {
        using var owned = new ResourceList();
        var weight = _layers.Make(name, outputs, inputs, format);
        var first = owned.Add((CudaLinear)backend.Prepare(weight));
        var (samples, tokens) = Samples(rows);
        var modulation = Modulation(owned, samples);
        var quantizes = name == "fc1" && first.Activations is not null;
        var nextFormat = quantizes ? first.Activations : null;
        var epilogue = name switch
        {
            "qkv" => Epilogue.SplitHeads(settings.Config.HeadCount),
            "fc1" => Epilogue.Activate(Activation.GeluTanh),
            _ => Epilogue.GatedResidual(modulation, 2),
        };
        var bytes = first.ByteCount + ActivationBytes(rows, inputs, first.Activations) + ActivationBytes(rows, outputs, nextFormat);
        var launches = Rotate(bytes, out var copies, i =>
        {
            var layer = i == 0 ? first : Copy(owned, weight, first);
            var input = Input(owned, first.Activations, samples, tokens, inputs);
            var output = nextFormat is null ? Input(owned, null, samples, tokens, outputs) : owned.Add(backend.AllocateActivations(nextFormat, samples, tokens, outputs));
            return () => backend.Linear(input, layer, epilogue, output);
        });
        var time = _timer.Launches(launches, settings.Rounds);
        var shape = string.Create(CultureInfo.InvariantCulture, $"{outputs}x{inputs}");
        return new KernelTime(name, Name(format), shape, rows, time, 2.0 * rows * outputs * inputs, bytes, copies, vendor);
    }

    private TimeSpread? Vendor(int rows, int outputs, int inputs)
    {
        if (product is null) return null;
        using var owned = new ResourceList();
        var launches = Rotate(2 * ((long)rows * inputs + (long)outputs * inputs + (long)rows * outputs), out _, _ =>
        {
            var (x, w, y) = (Halves(owned, (long)rows * inputs), Halves(owned, (long)outputs * inputs), owned.Add(device.Allocate(2L * rows * outputs)).Pointer);
            return () => product.Multiply(backend.Stream, x, w, y, rows, outputs, inputs);
        });
        return _timer.Launches(launches, settings.Rounds);
    }

    /// <summary>Launches that take sets of buffers in turn.</summary>
    /// <param name="bytes">Of a set.</param>
    /// <param name="copies">Sets made.</param>
    /// <param name="make">Makes a set, and what is launched on it.</param>
    private List<Action> Rotate(long bytes, out int copies, Func<int, Action> make)
    {
        var wanted = 2 * device.Properties.SecondLevelCacheBytes / bytes + 1;
        copies = settings.IsQuick ? 2 : (int)Math.Clamp(wanted, 2, MaxCopies);
        var made = new Action[copies];
        for (var i = 0; i < copies; i++) made[i] = make(i);
        var loops = settings.IsQuick ? 1 : (MinLaunches + copies - 1) / copies;
        return [.. Enumerable.Repeat(made, loops).SelectMany(set => set)];
    }

    /// <summary>The same weight in memory of its own.</summary>
    private CudaLinear Copy(ResourceList owned, LinearWeight weight, CudaLinear layer)
    {
        var buffer = device.Allocate(layer.ByteCount);
        backend.Stream.Copy(layer.Storage, buffer.Pointer, layer.ByteCount);
        return owned.Add(new CudaLinear(weight, layer.Layout, buffer));
    }

    /// <summary>Random activations, quantized where a layer asks for that.</summary>
    private CudaTensor Input(ResourceList owned, ActivationFormat? format, int samples, int tokens, int width)
    {
        var tensor = (CudaTensor)owned.Add(backend.AllocateActivations(format, samples, tokens, width));
        if (format is null)
        {
            _random.FillHalves(tensor.Pointer, (long)tensor.RowCount * tensor.RowStride);
            return tensor;
        }

        var rows = samples * tokens;
        using var plain = device.Allocate(2L * rows * width);
        _random.FillHalves(plain.Pointer, (long)rows * width);
        new QuantizeRowsKernel(backend.Library).Launch(backend.Stream, plain.Pointer, rows, width, tensor.Quantized, format);
        backend.Stream.Synchronize();
        return tensor;
    }

    private Modulation Modulation(ResourceList owned, int samples)
    {
        var table = owned.Add(backend.Allocate(Checkpoints.ElementType.F32, 2, 6 * settings.Config.HiddenSize));
        // Small gates: what is added again and again stays a half.
        backend.Upload<float>(SyntheticLayers.Values(table.Count, 3, 0.02f), table);
        var rows = owned.Add(backend.Allocate(Checkpoints.ElementType.I32, samples));
        backend.Upload<int>([.. Enumerable.Range(0, samples).Select(i => i % 2)], rows);
        return new Modulation(table, rows);
    }

    private DevicePointer Halves(ResourceList owned, long count)
    {
        var buffer = owned.Add(device.Allocate(2 * count));
        _random.FillHalves(buffer.Pointer, count);
        return buffer.Pointer;
    }

    /// <summary>M rows as samples of T tokens.</summary>
    private (int Samples, int Tokens) Samples(int rows) =>
        rows % settings.Config.TokenCount == 0 ? (rows / settings.Config.TokenCount, settings.Config.TokenCount) : (1, rows);

    /// <summary>Bytes of activations as they are stored.</summary>
    private static long ActivationBytes(int rows, int width, ActivationFormat? format)
    {
        if (format is null) return 2L * rows * width;
        var layout = new ActivationLayout(format.Grid(width));
        return (long)rows * (layout.CodeStride + sizeof(float) * layout.Grid.Count + sizeof(ushort) * layout.CorrectionStride);
    }

    private static string Name(LayerFormat format) => format.Weights is null ? "f16" : format.ToString();
}

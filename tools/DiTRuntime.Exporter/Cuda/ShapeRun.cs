using System.Runtime.CompilerServices;
using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;
using DiTRuntime.Cuda;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Models;

namespace DiTRuntime.Exporter.Cuda;

/// <summary>A batch shape as the engine runs it: everything that <see cref="SamplingBatch"/> allocates, at its largest.</summary>
internal sealed class ShapeRun : IDisposable
{
    /// <summary>Steps that a run may have: all of training.</summary>
    private const int MostSteps = 1000;

    private readonly ResourceList _owned = new();
    private readonly DiTModel _model;
    private readonly DiTState _state;
    private readonly ModulationTable _table;
    private readonly Tensor? _rowOfSample;
    private readonly CudaUpdateTable? _updates;
    private readonly Tensor? _noise;

    private ShapeRun(DiTModel model, PlanShape shape)
    {
        _model = model;
        Shape = shape;
        var (backend, config) = (model.Backend, model.Config);
        var (images, samples) = ((int)shape.Images, (int)shape.Samples);
        try
        {
            _state = _owned.Add(model.CreateState(images, samples));
            _table = _owned.Add(new ModulationTable(backend, config, (int)(shape.WindowSteps * shape.Conditions)));
            backend.Upload<int>([.. Enumerable.Range(0, samples).Select(sample => sample / (samples / images))], _state.ImageOfSample);
            if (IsPass)
            {
                backend.Upload<int>([0, 1], _state.ModulationRowOfSample);
                return;
            }

            _rowOfSample = _owned.Add(backend.Allocate(ElementType.I32, MostSteps, samples));
            _updates = (CudaUpdateTable)_owned.Add(backend.Prepare(Updates(images, samples), images));
            _noise = _owned.Add(backend.Allocate(ElementType.F32, 2, images, config.InChannels, config.InputSize, config.InputSize));
        }
        catch
        {
            _owned.Dispose();
            throw;
        }
    }

    /// <summary>What it is; places and commands are not in it yet.</summary>
    public PlanShape Shape { get; }

    /// <summary>Whether it shows its stages instead of taking a step.</summary>
    public bool IsPass => Shape.Kind == PlanShapeKind.Pass;

    /// <summary>A sampling shape.</summary>
    /// <param name="model">The model.</param>
    /// <param name="images">Images sampled together.</param>
    /// <param name="guided">Whether each has a second row, of the null class.</param>
    /// <param name="windowSteps">Steps whose modulation is held at once.</param>
    public static ShapeRun Sampling(DiTModel model, int images, bool guided, int windowSteps) => new(model, new PlanShape
    {
        Kind = PlanShapeKind.Sampling,
        Images = (uint)images,
        Samples = (uint)(guided ? 2 * images : images),
        Conditions = (uint)(guided ? images + 1 : images),
        WindowSteps = (uint)windowSteps,
        StepCapacity = MostSteps,
    });

    /// <summary>The pass of two samples that `verify` looks into.</summary>
    public static ShapeRun Pass(DiTModel model) => new(model, new PlanShape { Kind = PlanShapeKind.Pass, Images = 2, Samples = 2, Conditions = 2, WindowSteps = 1, StepCapacity = 1 });

    /// <summary>Computes the modulation table.</summary>
    public void Fill() => _model.Conditioner.Fill(new int[_table.RowCount], new int[_table.RowCount], _table);

    /// <summary>Takes a step, or passes once.</summary>
    /// <param name="onStage">Told after the embedding and each block of a pass.</param>
    public void Step(Action onStage)
    {
        if (IsPass) _model.Forward(_state, _table, (_, _) => onStage());
        else _model.Step(_state, _table, _rowOfSample!, _updates!, _noise);
    }

    /// <summary>The shape with the places that the host writes and reads.</summary>
    /// <param name="placeOf">Where so many bytes from an address on lie.</param>
    public PlanShape WithPlaces(Func<ulong, long, PlanPlace> placeOf)
    {
        var tokens = (CudaTensor)_state.Tokens;
        var sampler = _updates?.Sampler((CudaTensor)_noise!, (CudaTensor)_state.Latents);
        return Shape with
        {
            Timesteps = Place(_table.Timesteps),
            Labels = Place(_table.Labels),
            Latents = Place(_state.Latents),
            RowOfSample = _rowOfSample is null ? PlanPlace.None : Place(_rowOfSample),
            Updates = sampler is { } s ? placeOf(s.Updates.Address, (long)MostSteps * Shape.Images * Unsafe.SizeOf<DeviceSampleUpdate>()) : PlanPlace.None,
            Counter = _updates is null ? PlanPlace.None : Place(_updates.Step),
            Noise = _noise is null ? PlanPlace.None : Place(_noise),
            Tokens = IsPass ? placeOf(tokens.Pointer.Address, (long)tokens.RowCount * tokens.RowStride * sizeof(ushort)) : PlanPlace.None,
            Prediction = IsPass ? Place(_state.Prediction) : PlanPlace.None,
            TokenStride = IsPass ? (uint)tokens.RowStride : 0,
        };

        PlanPlace Place(Tensor tensor) => placeOf(((CudaTensor)tensor).Pointer.Address, (long)tensor.Count * sizeof(float));
    }

    /// <inheritdoc/>
    public void Dispose() => _owned.Dispose();

    /// <summary>Entries that the host replaces; they only have to be valid.</summary>
    private static SampleUpdate[] Updates(int images, int samples)
    {
        var updates = new SampleUpdate[MostSteps * images];
        var guided = samples > images;
        for (var i = 0; i < updates.Length; i++)
        {
            var image = i % images;
            updates[i] = new SampleUpdate(image, guided ? 2 * image : image, guided ? 2 * image + 1 : -1, 1, 0, default);
        }

        return updates;
    }
}

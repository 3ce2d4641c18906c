using DiTRuntime.Backends;
using DiTRuntime.Models;

namespace DiTRuntime.Calibration.Training;

/// <summary>Runs the model in floating point and hands over what a student of it is trained on.</summary>
/// <remarks>What it holds is one batch, whatever the model's size: with <see cref="WeightResidency.None"/> that and one block.</remarks>
internal sealed class Teacher : IDisposable
{
    private readonly DiTModel _model;
    private readonly ModulationTable _table;

    /// <param name="model">The model; not taken over.</param>
    /// <param name="imageCount">Latents of a batch.</param>
    /// <param name="rowsPerImage">Rows that read the same latents: 2 with classifier-free guidance.</param>
    public Teacher(DiTModel model, int imageCount, int rowsPerImage = 1)
    {
        _model = model;
        var rows = imageCount * rowsPerImage;
        State = model.CreateState(imageCount, rows);
        try
        {
            _table = new ModulationTable(model.Backend, model.Config, rows);
            model.Backend.Upload<int>([.. Enumerable.Range(0, rows).Select(row => row / rowsPerImage)], State.ImageOfSample);
            model.Backend.Upload<int>([.. Enumerable.Range(0, rows)], State.ModulationRowOfSample);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>What the passes work in: after a pass its latents and its prediction, from which a sampler goes on.</summary>
    public DiTState State { get; }

    /// <summary>Runs the model.</summary>
    /// <param name="latents">x [images, C, S, S].</param>
    /// <param name="timesteps">t [B]; row r reads image r / rows per image.</param>
    /// <param name="labels">y [B].</param>
    /// <param name="keepsBlocks">Whether the outputs of all blocks are handed over.</param>
    /// <exception cref="UsageException">A class that the model does not have.</exception>
    public StudentBatch Run(ReadOnlySpan<float> latents, ReadOnlySpan<int> timesteps, ReadOnlySpan<int> labels, bool keepsBlocks = true)
    {
        _model.Conditioner.Fill(timesteps, labels, _table);
        _model.Backend.Upload(latents, State.Latents);
        float[] tokens = [];
        var targets = keepsBlocks ? new float[_model.Config.Depth][] : null;
        _model.Forward(State, _table, (block, output) =>
        {
            if (block < 0) tokens = Read(output);
            else if (targets is not null) targets[block] = Read(output);
        });
        return new StudentBatch(tokens, Read(_table.Condition), targets, Read(_table.Final), Read(State.Patches));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        State.Dispose();
        _table?.Dispose();
    }

    private float[] Read(Tensor tensor)
    {
        var values = new float[tensor.Count];
        _model.Backend.Download<float>(tensor, values);
        return values;
    }
}

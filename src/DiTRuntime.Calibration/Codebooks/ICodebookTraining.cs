using DiTRuntime.Backends;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Codebooks;

/// <summary>What a training of codebooks works on and with.</summary>
/// <param name="Settings">What to do.</param>
/// <param name="Plan">The format of every layer.</param>
/// <param name="Open">Opens the model in floating point.</param>
/// <param name="Backend">Runs the model.</param>
/// <param name="Workers">Who computes the rest.</param>
/// <param name="Folder">Holds the layers to start from, and keeps the training's own state.</param>
/// <param name="Note">Told what the user should know.</param>
/// <param name="Progress">Told what is being done.</param>
/// <param name="Cancellation">Ends the training; its state stays in the folder.</param>
internal sealed record CodebookTask(
    QuantizeSettings Settings, PackedModelPlan Plan, Func<DiTWeights> Open, IDiTBackend Backend, Workers Workers, WorkFolder Folder,
    Action<string> Note, IProgress<QuantizeProgress>? Progress, CancellationToken Cancellation)
{
    /// <summary>A layer as the training finds it: any of the plan's packed layers with a codebook.</summary>
    public CodebookWeight Start(string layer) => (CodebookWeight)Folder.Load(layer).Weight;
}

/// <summary>Trains codewords, assignments and biases of a model that is quantized already.</summary>
internal interface ICodebookTraining
{
    /// <summary>Looks at what the user gives, before hours of work.</summary>
    /// <param name="settings">What to do.</param>
    /// <param name="config">The model's architecture.</param>
    /// <exception cref="InvalidFileException">The user's samples do not fit the model.</exception>
    void Check(QuantizeSettings settings, DiTConfig config)
    {
    }

    /// <summary>Trains the model, or goes on where the state in the folder stands, and gives the changed layers to <see cref="WorkFolder.SaveTrained"/>; others stay as they started.</summary>
    /// <param name="task">What to work on.</param>
    void Run(CodebookTask task);
}

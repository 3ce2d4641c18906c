using DiTRuntime.Backends;
using DiTRuntime.Backends.Training;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;

namespace DiTRuntime.Calibration.Training;

/// <summary>The whole student forward, and back with a step of every layer: one block's weights at a time, the inputs of all blocks kept.</summary>
/// <remarks>
/// On the way back each block is loaded and run again before its gradient is taken. A layer takes its step as soon as its gradient is known; blocks nearer to the
/// input do not read it any more.
/// </remarks>
internal sealed class StudentGradient : IDisposable
{
    private readonly ResourceList _owned = new();
    private readonly ITrainingBackend _backend;
    private readonly FinalLayer? _final;
    private readonly TrainingBlock _block;
    private readonly BlockGradient _gradient;
    private readonly Tensor _condition, _target, _tokenGradient;
    private readonly Tensor[] _tokens;
    private readonly float[] _weightGradient;

    /// <param name="backend">Where it runs.</param>
    /// <param name="config">The architecture.</param>
    /// <param name="compatibility">Which published implementation's norms.</param>
    /// <param name="sampleCount">B of every batch.</param>
    /// <param name="final">The final layer for as many samples, or null where no batch has a prediction target; stays the caller's.</param>
    public StudentGradient(ITrainingBackend backend, DiTConfig config, Compatibility compatibility, int sampleCount, FinalLayer? final)
    {
        _backend = backend;
        _final = final;
        try
        {
            _block = _owned.Add(new TrainingBlock(backend, config));
            _gradient = _owned.Add(new BlockGradient(backend, config, compatibility, sampleCount));
            _condition = _owned.Add(backend.Allocate(ElementType.F32, sampleCount, config.HiddenSize));
            _target = Tokens();
            _tokenGradient = Tokens();
            _tokens = [.. Enumerable.Range(0, config.Depth + 1).Select(_ => Tokens())];
            _weightGradient = new float[Math.Max(6 * config.HiddenSize, config.MlpSize) * config.HiddenSize];
        }
        catch
        {
            _owned.Dispose();
            throw;
        }

        Tensor Tokens() => _owned.Add(backend.Allocate(ElementType.F32, sampleCount, config.TokenCount, config.HiddenSize));
    }

    private int Depth => _tokens.Length - 1;

    /// <summary>Forward, back, and a step of every layer.</summary>
    /// <param name="batch">Inputs and targets.</param>
    /// <param name="layers">Per block, the five layers.</param>
    /// <param name="weights">What is minimised.</param>
    /// <returns>The losses before the steps.</returns>
    public StudentLoss Train(StudentBatch batch, IReadOnlyList<IReadOnlyList<ITrainedLayer>> layers, in LossWeights weights)
    {
        Forward(batch, layers);
        var (noise, variance) = AddPredictionGradient(batch, weights);
        double blocks = 0;
        for (var block = Depth - 1; block >= 0; block--)
        {
            blocks += AddBlockGradient(batch, block, weights.Blocks);
            if (block < Depth - 1) Run(block, layers[block]);
            _gradient.Backward(_block, _condition, _tokens[block], _tokenGradient);
            Step(layers[block]);
        }

        return new StudentLoss(blocks / Depth, noise, variance);
    }

    /// <summary>The losses alone.</summary>
    /// <param name="batch">Inputs and targets.</param>
    /// <param name="layers">Per block, the five layers.</param>
    /// <param name="weights">Does not change the losses, which are not weighted.</param>
    public StudentLoss Evaluate(StudentBatch batch, IReadOnlyList<IReadOnlyList<ITrainedLayer>> layers, in LossWeights weights)
    {
        Forward(batch, layers);
        var (noise, variance) = AddPredictionGradient(batch, weights);
        double blocks = 0;
        for (var block = 0; block < Depth; block++) blocks += AddBlockGradient(batch, block, weights.Blocks);
        return new StudentLoss(blocks / Depth, noise, variance);
    }

    /// <inheritdoc/>
    public void Dispose() => _owned.Dispose();

    private void Forward(StudentBatch batch, IReadOnlyList<IReadOnlyList<ITrainedLayer>> layers)
    {
        Upload(batch.Tokens, _tokens[0], nameof(batch.Tokens));
        Upload(batch.Condition, _condition, nameof(batch.Condition));
        for (var block = 0; block < Depth; block++) Run(block, layers[block]);
    }

    private void Run(int block, IReadOnlyList<ITrainedLayer> layers)
    {
        for (var layer = 0; layer < TrainingBlock.LayerCount; layer++) _block.Load(layer, layers[layer]);
        _gradient.Forward(_block, _condition, _tokens[block], _tokens[block + 1]);
    }

    private (double Noise, double Variance) AddPredictionGradient(StudentBatch batch, in LossWeights weights)
    {
        _backend.Clear(_tokenGradient);
        if (batch.PredictionTarget is null) return (0, 0);
        if (_final is null) throw new ArgumentException("the batch has a prediction target, but there is no final layer", nameof(batch));
        return _final.AddGradient(_tokens[Depth], batch, weights, _tokenGradient);
    }

    /// <returns>The mean squared error of the block's output.</returns>
    private double AddBlockGradient(StudentBatch batch, int block, float weight)
    {
        if (batch.BlockTargets is not { } targets) return 0;
        Upload(targets[block], _target, nameof(batch.BlockTargets));
        return _backend.SquaredErrorGradient(_tokens[block + 1], _target, weight / ((float)Depth * _target.Count), _tokenGradient) / _target.Count;
    }

    private void Step(IReadOnlyList<ITrainedLayer> layers)
    {
        for (var layer = 0; layer < TrainingBlock.LayerCount; layer++)
        {
            var target = layers[layer];
            var weightGradient = _weightGradient.AsSpan(0, target.Outputs * target.Inputs);
            var biasGradient = target.Bias is null ? [] : new float[target.Outputs];
            _block.ReadGradient(layer, weightGradient, biasGradient);
            target.Step(weightGradient, biasGradient);
        }
    }

    private void Upload(float[] values, Tensor tensor, string name)
    {
        if (values.Length != tensor.Count) throw new ArgumentException($"{name} has {values.Length} values, expected {tensor.Count}", nameof(values));
        _backend.Upload<float>(values, tensor);
    }
}

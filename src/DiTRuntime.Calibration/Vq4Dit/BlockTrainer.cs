using DiTRuntime.Backends;
using DiTRuntime.Backends.Training;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Calibration.Training;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;

namespace DiTRuntime.Calibration.Vq4Dit;

/// <summary>What a block is trained on.</summary>
/// <param name="Inputs">x [n, T·H]: what the block reads.</param>
/// <param name="Targets">[n, T·H]: what it shall make of it.</param>
/// <param name="Conditions">SiLU(c) [n, H].</param>
internal sealed record BlockSamples(TokenStates Inputs, TokenStates Targets, float[] Conditions);

/// <summary>Trains one block at a time on the mean squared error of its output, and measures that.</summary>
internal sealed class BlockTrainer : IDisposable
{
    private readonly ResourceList _owned = new();
    private readonly ITrainingBackend _backend;
    private readonly TrainingBlock _block;
    private readonly BlockGradient _gradient;
    private readonly Tensor _condition, _input, _output, _target, _tokenGradient;
    private readonly float[] _conditions, _tokens, _weightGradient;
    private readonly int _batchSize;

    /// <param name="backend">Where it runs.</param>
    /// <param name="config">The architecture.</param>
    /// <param name="compatibility">Which published implementation's norms.</param>
    /// <param name="batchSize">B: samples of a step.</param>
    public BlockTrainer(ITrainingBackend backend, DiTConfig config, Compatibility compatibility, int batchSize)
    {
        (_backend, _batchSize) = (backend, batchSize);
        try
        {
            _block = _owned.Add(new TrainingBlock(backend, config));
            _gradient = _owned.Add(new BlockGradient(backend, config, compatibility, batchSize));
            _condition = _owned.Add(backend.Allocate(ElementType.F32, batchSize, config.HiddenSize));
            (_input, _output, _target, _tokenGradient) = (Tokens(), Tokens(), Tokens(), Tokens());
            _conditions = new float[_condition.Count];
            _tokens = new float[_input.Count];
            _weightGradient = new float[Math.Max(6 * config.HiddenSize, config.MlpSize) * config.HiddenSize];
        }
        catch
        {
            _owned.Dispose();
            throw;
        }

        Tensor Tokens() => _owned.Add(backend.Allocate(ElementType.F32, batchSize, config.TokenCount, config.HiddenSize));
    }

    /// <summary>Takes a step of every layer.</summary>
    /// <param name="layers">The five layers.</param>
    /// <param name="samples">What to train on.</param>
    /// <param name="batch">The samples of this step, B of them.</param>
    /// <returns>The mean squared error before the step.</returns>
    public double Step(IReadOnlyList<ITrainedLayer> layers, BlockSamples samples, ReadOnlySpan<int> batch)
    {
        Load(layers);
        Run(samples, batch);
        var error = AddError();
        _gradient.Backward(_block, _condition, _input, _tokenGradient);
        for (var i = 0; i < layers.Count; i++)
        {
            var weightGradient = _weightGradient.AsSpan(0, layers[i].Outputs * layers[i].Inputs);
            var biasGradient = layers[i].Bias is null ? [] : new float[layers[i].Outputs];
            _block.ReadGradient(i, weightGradient, biasGradient);
            layers[i].Step(weightGradient, biasGradient);
        }

        return error;
    }

    /// <summary>The mean squared error over some samples.</summary>
    /// <param name="layers">The five layers.</param>
    /// <param name="samples">All samples.</param>
    /// <param name="chosen">Which of them.</param>
    public double Measure(IReadOnlyList<ITrainedLayer> layers, BlockSamples samples, int[] chosen)
    {
        Load(layers);
        double sum = 0;
        // The last batch goes back to samples that have been counted before where too few are left.
        var batches = (chosen.Length + _batchSize - 1) / _batchSize;
        for (var b = 0; b < batches; b++)
        {
            Run(samples, [.. Enumerable.Range(b * _batchSize, _batchSize).Select(i => chosen[i % chosen.Length])]);
            sum += AddError();
        }

        return sum / batches;
    }

    /// <inheritdoc/>
    public void Dispose() => _owned.Dispose();

    private void Load(IReadOnlyList<ITrainedLayer> layers)
    {
        for (var i = 0; i < layers.Count; i++) _block.Load(i, layers[i]);
    }

    private void Run(BlockSamples samples, ReadOnlySpan<int> batch)
    {
        var hidden = _conditions.Length / _batchSize;
        for (var i = 0; i < _batchSize; i++) samples.Conditions.AsSpan(batch[i] * hidden, hidden).CopyTo(_conditions.AsSpan(i * hidden));
        _backend.Upload<float>(_conditions, _condition);
        Upload(samples.Inputs, batch, _input);
        Upload(samples.Targets, batch, _target);
        _gradient.Forward(_block, _condition, _input, _output);
    }

    private double AddError()
    {
        _backend.Clear(_tokenGradient);
        return _backend.SquaredErrorGradient(_output, _target, 1f / _output.Count, _tokenGradient) / _output.Count;
    }

    private void Upload(TokenStates states, ReadOnlySpan<int> batch, Tensor tensor)
    {
        for (var i = 0; i < _batchSize; i++) states.Samples(batch[i], 1).CopyTo(_tokens.AsSpan(i * states.SampleLength));
        _backend.Upload<float>(_tokens, tensor);
    }
}

using DiTRuntime.Backends;
using DiTRuntime.Backends.Training;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Training;

/// <summary>The weights of one block as plain matrices on a backend, and their gradients.</summary>
/// <remarks>Layers are numbered as in <see cref="Quantizing.BlockLayers.Of"/>: adaLN [6H, H], qkv, proj, fc1, fc2.</remarks>
internal sealed class TrainingBlock : IDisposable
{
    /// <summary>The numbers of the layers.</summary>
    public const int Modulation = 0, Qkv = 1, Projection = 2, Fc1 = 3, Fc2 = 4;

    /// <summary>Layers of a block.</summary>
    public const int LayerCount = 5;

    private readonly ResourceList _owned = new();
    private readonly ITrainingBackend _backend;
    private readonly Layer[] _layers;
    private readonly float[] _weight;

    /// <param name="backend">Where the tensors lie.</param>
    /// <param name="config">Says the shapes.</param>
    public TrainingBlock(ITrainingBackend backend, DiTConfig config)
    {
        _backend = backend;
        var (hidden, mlp) = (config.HiddenSize, config.MlpSize);
        try
        {
            _layers = [NewLayer(6 * hidden, hidden), NewLayer(3 * hidden, hidden), NewLayer(hidden, hidden), NewLayer(mlp, hidden), NewLayer(hidden, mlp)];
            _weight = new float[_layers.Max(layer => layer.Weight.Count)];
        }
        catch
        {
            _owned.Dispose();
            throw;
        }
    }

    /// <summary>Loads a layer as training has it.</summary>
    /// <param name="layer">Its number.</param>
    /// <param name="source">The layer; one without a bias counts as one whose bias is zero.</param>
    public void Load(int layer, ITrainedLayer source)
    {
        source.CopyWeight(Staging(layer, source.Outputs, source.Inputs));
        Upload(layer, source.Bias);
    }

    /// <summary>Loads a layer as its file has it.</summary>
    /// <param name="layer">Its number.</param>
    /// <param name="source">The layer; one without a bias counts as one whose bias is zero.</param>
    public void Load(int layer, LinearWeight source)
    {
        source.CopyRows(0, source.Outputs, Staging(layer, source.Outputs, source.Inputs));
        Upload(layer, source.Bias);
    }

    /// <summary>Reads the gradients that <see cref="BlockGradient.Backward"/> left.</summary>
    /// <param name="layer">The layer's number.</param>
    /// <param name="weightGradient">out ∂W [N, K].</param>
    /// <param name="biasGradient">out ∂b [N], or empty where it is not wanted.</param>
    public void ReadGradient(int layer, Span<float> weightGradient, Span<float> biasGradient)
    {
        _backend.Download(_layers[layer].WeightGradient, weightGradient);
        if (!biasGradient.IsEmpty) _backend.Download(_layers[layer].BiasGradient, biasGradient);
    }

    /// <inheritdoc/>
    public void Dispose() => _owned.Dispose();

    /// <summary>y = x Wᵀ + b.</summary>
    internal void Forward(int layer, Tensor x, Tensor y)
    {
        _backend.Multiply(LinearProduct.Output, x, _layers[layer].Weight, y);
        _backend.AddBias(_layers[layer].Bias, y);
    }

    /// <summary>Fills ∂W and ∂b.</summary>
    internal void KeepGradient(int layer, Tensor outputGradient, Tensor x)
    {
        _backend.Multiply(LinearProduct.WeightGradient, outputGradient, x, _layers[layer].WeightGradient);
        _backend.BiasGradient(outputGradient, _layers[layer].BiasGradient);
    }

    /// <summary>∂x = ∂y W.</summary>
    internal void InputGradient(int layer, Tensor outputGradient, Tensor inputGradient) =>
        _backend.Multiply(LinearProduct.InputGradient, outputGradient, _layers[layer].Weight, inputGradient);

    private Layer NewLayer(int outputs, int inputs)
    {
        return new Layer(Matrix(), Vector(), Matrix(), Vector());

        Tensor Matrix() => _owned.Add(_backend.Allocate(ElementType.F32, outputs, inputs));

        Tensor Vector() => _owned.Add(_backend.Allocate(ElementType.F32, outputs));
    }

    /// <summary>Where the layer's weight is put together.</summary>
    private Span<float> Staging(int layer, int outputs, int inputs)
    {
        var weight = _layers[layer].Weight;
        TensorCheck.Shape(weight, $"layer {layer} of the block", outputs, inputs);
        return _weight.AsSpan(0, weight.Count);
    }

    private void Upload(int layer, float[]? bias)
    {
        var (weight, target) = (_layers[layer].Weight, _layers[layer].Bias);
        _backend.Upload<float>(_weight.AsSpan(0, weight.Count), weight);
        if (bias is null) _backend.Clear(target);
        else _backend.Upload<float>(bias, target);
    }

    private readonly record struct Layer(Tensor Weight, Tensor Bias, Tensor WeightGradient, Tensor BiasGradient);
}

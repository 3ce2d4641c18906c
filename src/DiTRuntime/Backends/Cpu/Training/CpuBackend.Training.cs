using DiTRuntime.Backends.Training;

namespace DiTRuntime.Backends.Cpu;

/// <summary>What training adds to the operations of a forward pass.</summary>
public abstract partial class CpuBackend : ITrainingBackend
{
    /// <inheritdoc/>
    public abstract void Multiply(LinearProduct product, Tensor left, Tensor right, Tensor result, bool adds = false);

    /// <inheritdoc/>
    public abstract void AddBias(Tensor bias, Tensor y);

    /// <inheritdoc/>
    public abstract void BiasGradient(Tensor outputGradient, Tensor biasGradient);

    /// <inheritdoc/>
    public abstract void NormModulateForward(Tensor x, Tensor modulation, int shiftChunk, float epsilon, Tensor y);

    /// <inheritdoc/>
    public abstract void NormModulateGradient(
        Tensor outputGradient, Tensor x, Tensor modulation, int shiftChunk, float epsilon, Tensor inputGradient, Tensor modulationGradient);

    /// <inheritdoc/>
    public void AttentionForward(Tensor qkv, int headCount, Tensor y) => Attention(qkv, headCount, y);

    /// <inheritdoc/>
    public abstract void AttentionGradient(Tensor outputGradient, Tensor qkv, int headCount, Tensor inputGradient);

    /// <inheritdoc/>
    public abstract void GeluForward(Tensor x, Tensor y);

    /// <inheritdoc/>
    public abstract void GeluGradient(Tensor outputGradient, Tensor x, Tensor inputGradient);

    /// <inheritdoc/>
    public abstract void GateForward(Tensor y, Tensor modulation, int gateChunk, Tensor x);

    /// <inheritdoc/>
    public abstract void GateGradient(Tensor sumGradient, Tensor y, Tensor modulation, int gateChunk, Tensor inputGradient, Tensor modulationGradient);

    /// <inheritdoc/>
    public abstract double SquaredErrorGradient(Tensor x, Tensor target, float weight, Tensor gradient);

    /// <inheritdoc/>
    public void Copy(Tensor source, Tensor destination)
    {
        TensorCheck.Copy(this, source, destination);
        ((CpuTensor)source).Bytes.CopyTo(((CpuTensor)destination).Bytes);
    }

    /// <inheritdoc/>
    public void Clear(Tensor tensor)
    {
        TensorCheck.Clear(this, tensor);
        ((CpuTensor)tensor).Bytes.Clear();
    }
}

/// <summary>What the operations of training share.</summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    /// <summary>Values of a task of an operation on single values.</summary>
    private const int ValuesPerTask = 8192;

    /// <summary>Columns of a task that adds up rows: their running sums stay in the first cache, and pieces of rows are several lines long.</summary>
    private const int ColumnsPerTask = 128;

    /// <summary>A vector's worth of values, or those that are left and then zeros.</summary>
    private static TVec Load(float* source, int count) =>
        count >= TSimd.Lanes ? TSimd.Load(source) : VectorMath<TSimd, TVec>.LoadPartial(source, count);

    /// <summary>Stores a vector, or as much of it as is wanted.</summary>
    private static void Store(TVec value, float* destination, int count)
    {
        if (count >= TSimd.Lanes) TSimd.Store(value, destination);
        else VectorMath<TSimd, TVec>.StorePartial(value, destination, count);
    }

    private void DisposeTraining()
    {
        _weightPanels?.Dispose();
        _transposed?.Dispose();
        _noBias?.Dispose();
        _samples?.Dispose();
        _rowMoments?.Dispose();
        _errorSums?.Dispose();
    }
}

using DiTRuntime.Backends;
using DiTRuntime.Backends.Training;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels.Training;

namespace DiTRuntime.Cuda;

/// <summary>What calibration asks for: gradients and nearest codewords, in fp32. Codewords and ratios take their steps on the host.</summary>
public sealed partial class CudaBackend : ITrainingBackend, IClusteringBackend
{
    private TrainingKernelSet? _trainingKernels;

    private TrainingKernelSet TrainingKernels => _trainingKernels ??= new TrainingKernelSet(Library);

    /// <inheritdoc/>
    /// <exception cref="GpuUnavailableException">The layer's N or K is no multiple of 4.</exception>
    public void Multiply(LinearProduct product, Tensor left, Tensor right, Tensor result, bool adds = false)
    {
        TensorCheck.Multiply(this, product, left, right, result);
        Cancellation.ThrowIfCancellationRequested();
        TrainingKernels.Product.Launch(Stream, product, new TrainingProductArguments
        {
            Left = Plain(left),
            Right = Plain(right),
            Result = Plain(result),
            Rows = result.RowCount,
            Columns = result.RowLength,
            Depth = product == LinearProduct.WeightGradient ? left.RowCount : left.RowLength,
            Adds = adds ? 1 : 0,
        });
    }

    /// <inheritdoc/>
    public void AddBias(Tensor bias, Tensor y)
    {
        TensorCheck.AddBias(this, bias, y);
        Pointwise("add_bias_kernel", input: null, Plain(bias), y);
    }

    /// <inheritdoc/>
    public void BiasGradient(Tensor outputGradient, Tensor biasGradient)
    {
        TensorCheck.BiasGradient(this, outputGradient, biasGradient);
        Cancellation.ThrowIfCancellationRequested();
        TrainingKernels.Sums.LaunchBias(Stream, new TrainingSumsArguments
        {
            Gradient = Plain(outputGradient),
            Result = Plain(biasGradient),
            Rows = outputGradient.RowCount,
            Columns = outputGradient.RowLength,
        });
    }

    /// <inheritdoc/>
    public void NormModulateForward(Tensor x, Tensor modulation, int shiftChunk, float epsilon, Tensor y)
    {
        TensorCheck.NormModulateForward(this, x, modulation, shiftChunk, y);
        Cancellation.ThrowIfCancellationRequested();
        TrainingKernels.Norm.LaunchForward(Stream, Norm(x, modulation, shiftChunk, epsilon, y));
    }

    /// <inheritdoc/>
    public void NormModulateGradient(Tensor outputGradient, Tensor x, Tensor modulation, int shiftChunk, float epsilon, Tensor inputGradient, Tensor modulationGradient)
    {
        TensorCheck.NormModulateGradient(this, outputGradient, x, modulation, shiftChunk, inputGradient, modulationGradient);
        Cancellation.ThrowIfCancellationRequested();
        var statistics = Scratch(2L * sizeof(float) * x.RowCount);
        var arguments = Norm(x, modulation, shiftChunk, epsilon, inputGradient);
        arguments.OutputGradient = Plain(outputGradient);
        arguments.Statistics = statistics;
        TrainingKernels.Norm.LaunchGradient(Stream, arguments);
        TrainingKernels.Sums.LaunchModulation(Stream, SampleSums(outputGradient, x, modulationGradient, shiftChunk, statistics), x.Shape[0]);
    }

    /// <inheritdoc/>
    /// <exception cref="GpuUnavailableException">The head size is no multiple of 4, or above 128.</exception>
    public void AttentionForward(Tensor qkv, int headCount, Tensor y)
    {
        TensorCheck.Attention(this, qkv, headCount, y);
        Cancellation.ThrowIfCancellationRequested();
        TrainingKernels.Attention.LaunchForward(
            Stream, new TrainingAttentionArguments { Qkv = Plain(qkv), Output = Plain(y), Tokens = qkv.Shape[1], Heads = headCount }, qkv.Shape[0], y.RowLength / headCount);
    }

    /// <inheritdoc/>
    /// <exception cref="GpuUnavailableException">The head size is no multiple of 4, or above 128.</exception>
    public void AttentionGradient(Tensor outputGradient, Tensor qkv, int headCount, Tensor inputGradient)
    {
        TensorCheck.AttentionGradient(this, outputGradient, qkv, headCount, inputGradient);
        Cancellation.ThrowIfCancellationRequested();
        int samples = qkv.Shape[0], tokens = qkv.Shape[1];
        var arguments = new TrainingAttentionArguments
        {
            Qkv = Plain(qkv),
            OutputGradient = Plain(outputGradient),
            InputGradient = Plain(inputGradient),
            Statistics = Scratch(TrainingAttentionKernel.StatisticsBytes(samples, headCount, tokens)),
            Tokens = tokens,
            Heads = headCount,
        };
        TrainingKernels.Attention.LaunchGradient(Stream, arguments, samples, outputGradient.RowLength / headCount);
    }

    /// <inheritdoc/>
    public void GeluForward(Tensor x, Tensor y)
    {
        TensorCheck.GeluForward(this, x, y);
        Pointwise("training_gelu_kernel", x, DevicePointer.Null, y);
    }

    /// <inheritdoc/>
    public void GeluGradient(Tensor outputGradient, Tensor x, Tensor inputGradient)
    {
        TensorCheck.GeluGradient(this, outputGradient, x, inputGradient);
        Pointwise("gelu_gradient_kernel", outputGradient, Plain(x), inputGradient);
    }

    /// <inheritdoc/>
    public void GateForward(Tensor y, Tensor modulation, int gateChunk, Tensor x)
    {
        TensorCheck.GateForward(this, y, modulation, gateChunk, x);
        Pointwise("gate_kernel", y, Chunk(modulation, gateChunk, y.RowLength), x, y.Shape[1], modulation.RowLength);
    }

    /// <inheritdoc/>
    public void GateGradient(Tensor sumGradient, Tensor y, Tensor modulation, int gateChunk, Tensor inputGradient, Tensor modulationGradient)
    {
        TensorCheck.GateGradient(this, sumGradient, y, modulation, gateChunk, inputGradient, modulationGradient);
        Pointwise("gate_gradient_kernel", sumGradient, Chunk(modulation, gateChunk, y.RowLength), inputGradient, y.Shape[1], modulation.RowLength);
        TrainingKernels.Sums.LaunchGate(Stream, SampleSums(sumGradient, y, modulationGradient, gateChunk, DevicePointer.Null), y.Shape[0]);
    }

    /// <inheritdoc/>
    public double SquaredErrorGradient(Tensor x, Tensor target, float weight, Tensor gradient)
    {
        TensorCheck.SquaredErrorGradient(this, x, target, gradient);
        Cancellation.ThrowIfCancellationRequested();
        var partials = new float[SquaredErrorKernel.PartialCount(x.Count)];
        var arguments = new SquaredErrorArguments
        {
            X = Plain(x),
            Target = Plain(target),
            Gradient = Plain(gradient),
            Partials = Scratch((long)partials.Length * sizeof(float)),
            Count = x.Count,
            Factor = 2 * weight,
        };
        TrainingKernels.SquaredError.Launch(Stream, arguments);
        Staging.Download<float>(arguments.Partials, partials);
        var sum = 0.0;
        foreach (var partial in partials) sum += partial;
        return sum;
    }

    /// <inheritdoc/>
    public void Copy(Tensor source, Tensor destination)
    {
        TensorCheck.Copy(this, source, destination);
        Cancellation.ThrowIfCancellationRequested();
        Stream.Copy(Plain(source), Plain(destination), (long)source.Count * sizeof(float));
    }

    /// <inheritdoc/>
    public void Clear(Tensor tensor)
    {
        TensorCheck.Clear(this, tensor);
        Cancellation.ThrowIfCancellationRequested();
        Stream.Fill(Plain(tensor), 0, (long)tensor.Count * sizeof(float));
    }

    /// <inheritdoc/>
    public void AssignNearest(Tensor points, Tensor? weights, Tensor codewords, Tensor codes, Tensor distances)
    {
        TensorCheck.AssignNearest(this, points, weights, codewords, codes, distances);
        Cancellation.ThrowIfCancellationRequested();
        var arguments = new AssignArguments
        {
            Points = Plain(points),
            Weights = weights is null ? DevicePointer.Null : Plain(weights),
            Codewords = Plain(codewords),
            Codes = Plain(codes),
            Distances = Plain(distances),
            PointCount = points.RowCount,
            CodewordCount = codewords.RowCount,
        };
        TrainingKernels.Assign.Launch(Stream, arguments, points.RowLength);
    }

    /// <summary>A chunk of the first sample's modulation.</summary>
    private static DevicePointer Chunk(Tensor modulation, int chunk, int width) => Plain(modulation) + (long)chunk * width * sizeof(float);

    private static TrainingNormArguments Norm(Tensor x, Tensor modulation, int shiftChunk, float epsilon, Tensor result) => new()
    {
        X = Plain(x),
        Modulation = Chunk(modulation, shiftChunk, x.RowLength),
        Result = Plain(result),
        Rows = x.RowCount,
        Hidden = x.RowLength,
        Tokens = x.Shape[1],
        Stride = modulation.RowLength,
        Epsilon = epsilon,
    };

    private static TrainingSumsArguments SampleSums(Tensor gradient, Tensor values, Tensor modulationGradient, int chunk, DevicePointer statistics) => new()
    {
        Gradient = Plain(gradient),
        Values = Plain(values),
        Statistics = statistics,
        Result = Chunk(modulationGradient, chunk, values.RowLength),
        Rows = values.Shape[1],
        Columns = values.RowLength,
        Stride = modulationGradient.RowLength,
    };

    private void Pointwise(string entry, Tensor? input, DevicePointer factor, Tensor result, int tokens = 1, int stride = 0)
    {
        Cancellation.ThrowIfCancellationRequested();
        TrainingKernels.Pointwise.Launch(Stream, entry, new TrainingPointwiseArguments
        {
            Input = input is null ? DevicePointer.Null : Plain(input),
            Factor = factor,
            Result = Plain(result),
            Rows = result.RowCount,
            Columns = result.RowLength,
            Tokens = tokens,
            Stride = stride,
        });
    }

    /// <summary>A launcher of each kind.</summary>
    private sealed class TrainingKernelSet(KernelLibrary library)
    {
        public TrainingProductKernel Product { get; } = new(library);

        public TrainingNormKernel Norm { get; } = new(library);

        public TrainingAttentionKernel Attention { get; } = new(library);

        public TrainingPointwiseKernel Pointwise { get; } = new(library);

        public TrainingSumsKernel Sums { get; } = new(library);

        public SquaredErrorKernel SquaredError { get; } = new(library);

        public AssignKernel Assign { get; } = new(library);
    }
}

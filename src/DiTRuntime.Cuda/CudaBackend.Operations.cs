using DiTRuntime.Backends;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Kernels;

namespace DiTRuntime.Cuda;

/// <summary>The operations, each one kernel or, where a group of activations does not lie in one tile, two.</summary>
public sealed partial class CudaBackend
{
    private readonly KernelSet _kernels;
    private GpuBuffer? _scratch;
    private int _scratchVersion;

    /// <inheritdoc/>
    public void TimestepFeatures(Tensor timesteps, Tensor frequencies, Tensor features)
    {
        TensorCheck.TimestepFeatures(this, timesteps, frequencies, features);
        Cancellation.ThrowIfCancellationRequested();
        _kernels.TimestepFeatures.Launch(Stream, Plain(timesteps), Plain(frequencies), timesteps.Count, frequencies.Count, Halves(features));
    }

    /// <inheritdoc/>
    public void Condition(Tensor timestepEmbedding, Tensor labelTable, Tensor labels, Tensor condition)
    {
        TensorCheck.Condition(this, timestepEmbedding, labelTable, labels, condition);
        Cancellation.ThrowIfCancellationRequested();
        _kernels.Condition.Launch(
            Stream, Halves(timestepEmbedding), Plain(labelTable), Plain(labels), timestepEmbedding.RowCount, timestepEmbedding.RowLength, Halves(condition));
    }

    /// <inheritdoc/>
    public void PatchEmbed(Tensor latents, Tensor imageOfSample, PreparedLinear projection, Tensor positions, Tensor tokens)
    {
        var patch = TensorCheck.PatchEmbed(this, latents, imageOfSample, projection, positions, tokens);
        var layer = TensorCheck.Prepared<CudaPatchEmbedding>(projection);
        Cancellation.ThrowIfCancellationRequested();
        var input = new PatchEmbedInput(
            Plain(latents), Plain(imageOfSample), layer.Weight, layer.Bias, Plain(positions), imageOfSample.Count, latents.Shape[1], latents.Shape[2], patch, layer.Outputs);
        _kernels.PatchEmbed.Launch(Stream, input, Halves(tokens));
    }

    /// <inheritdoc/>
    public void NormModulate(Tensor tokens, in Modulation modulation, int shiftChunk, float epsilon, Tensor output)
    {
        TensorCheck.NormModulate(this, tokens, modulation, shiftChunk, output);
        Cancellation.ThrowIfCancellationRequested();
        var hidden = tokens.RowLength;
        var input = new NormModulateInput(Halves(tokens), tokens.RowCount, tokens.Shape[1], hidden, Device(modulation), shiftChunk * hidden, epsilon);
        if (output.Activations is { } format) _kernels.NormModulate.Launch(Stream, input, ((CudaTensor)output).Quantized, format);
        else _kernels.NormModulate.Launch(Stream, input, Halves(output));
    }

    /// <inheritdoc/>
    public void Linear(Tensor input, PreparedLinear layer, in Epilogue epilogue, Tensor output)
    {
        TensorCheck.Linear(this, input, layer, epilogue, output);
        Cancellation.ThrowIfCancellationRequested();
        var product = layer is CudaFinalLayer final ? final.Product : TensorCheck.Prepared<CudaLinear>(layer);
        var (from, to) = ((CudaTensor)input, (CudaTensor)output);
        var problem = new GemmProblem
        {
            Rows = input.RowCount,
            Layer = product,
            Input = from.Activations is null ? Halves(input) : DevicePointer.Null,
            QuantizedInput = from.Quantized,
            Activation = epilogue.Activation,
        };
        // Groups that no tile holds whole pass through halves before their ranges are found; records that are decoded lie behind those.
        var passesHalves = to.Activations is { } next && !GemmKernel.CanQuantizeOutput(product.Outputs, next);
        var stride = CudaTensor.AlignedWidth(product.Outputs);
        var halvesBytes = passesHalves ? (long)input.RowCount * stride * sizeof(ushort) : 0;
        var scratch = passesHalves || product.Layout.IsDecoded ? Scratch(halvesBytes + product.DecodedBytes) : DevicePointer.Null;
        if (product.Layout.IsDecoded)
        {
            problem = problem with { DecodedRecords = scratch + halvesBytes };
            _kernels.Decode.Launch(Stream, product, problem.DecodedRecords);
        }

        if (to.Activations is { } format)
        {
            if (passesHalves)
            {
                _kernels.Gemm.Launch(Stream, problem with { Epilogue = GemmEpilogue.Store, Output = scratch, OutputStride = stride });
                _kernels.QuantizeRows.Launch(Stream, scratch, input.RowCount, product.Outputs, to.Quantized, format);
                return;
            }

            _kernels.Gemm.Launch(Stream, problem with { Epilogue = GemmEpilogue.Quantize, QuantizedOutput = to.Quantized, OutputFormat = format });
            return;
        }

        problem = problem with { Output = to.Pointer, OutputStride = to.RowStride };
        if (epilogue.Gate is { } gate)
        {
            RequireHalves(output);
            problem = problem with
            {
                Epilogue = GemmEpilogue.GatedResidual,
                Modulation = Device(gate),
                GateOffset = epilogue.GateChunk * product.Outputs,
                Tokens = output.Shape[1],
            };
        }
        else if (epilogue.AddsToOutput)
        {
            RequireHalves(output);
            problem = problem with { Epilogue = GemmEpilogue.Residual };
        }
        else if (epilogue.HeadCount > 0)
        {
            RequireHalves(output);
            problem = problem with { Epilogue = GemmEpilogue.Heads, HeadCount = epilogue.HeadCount, Tokens = output.Shape[^2] };
        }
        else
        {
            problem = problem with { Epilogue = GemmEpilogue.Store, OutputIsFloat = !to.IsHalf };
        }

        _kernels.Gemm.Launch(Stream, problem);
    }

    /// <inheritdoc/>
    public void Attention(Tensor qkv, int headCount, Tensor output)
    {
        TensorCheck.Attention(this, qkv, headCount, output);
        Cancellation.ThrowIfCancellationRequested();
        int batch = qkv.Shape[0], tokens = qkv.Shape[1], width = output.RowLength;
        var input = new AttentionInput(Halves(qkv), batch, tokens, headCount, width / headCount);
        if (output.Activations is not { } format)
        {
            _kernels.Attention.Launch(Stream, input, Halves(output));
            return;
        }

        var quantized = ((CudaTensor)output).Quantized;
        if (AttentionKernel.CanQuantize(headCount, width / headCount, format, _device.Properties.SharedMemoryPerBlock))
        {
            _kernels.Attention.Launch(Stream, input, quantized, format);
            return;
        }

        // Groups that break heads: halves first, then their ranges.
        var halves = Scratch((long)batch * tokens * CudaTensor.AlignedWidth(width) * sizeof(ushort));
        _kernels.Attention.Launch(Stream, input, halves);
        _kernels.QuantizeRows.Launch(Stream, halves, batch * tokens, width, quantized, format);
    }

    /// <inheritdoc/>
    public void Unpatchify(Tensor patches, Tensor output)
    {
        var patch = TensorCheck.Unpatchify(this, patches, output);
        Cancellation.ThrowIfCancellationRequested();
        _kernels.Unpatchify.Launch(Stream, new UnpatchifyArguments
        {
            Patches = Plain(patches),
            Output = Plain(output),
            SampleCount = output.Shape[0],
            Channels = output.Shape[1],
            Side = output.Shape[2],
            Patch = patch,
        });
    }

    /// <inheritdoc/>
    public void GuideAndUpdate(Tensor prediction, UpdateTable updates, Tensor? noise, Tensor latents)
    {
        CheckUpdate(prediction, updates, noise, latents);
        Cancellation.ThrowIfCancellationRequested();
        _kernels.SampleUpdate.Launch(Stream, new GuideAndUpdateArguments
        {
            Sampler = Sampler(updates, noise, latents),
            Prediction = Plain(prediction),
            Channels = latents.Shape[1],
            OutChannels = prediction.Shape[1],
            PlaneSize = latents.Shape[2] * latents.Shape[3],
        });
    }

    /// <inheritdoc/>
    public void FinishStep(in StepEnd work)
    {
        // A final layer that takes quantized tokens is not in the fused kernel.
        if (work.Layer is not CudaFinalLayer layer)
        {
            IDiTBackend.FinishStepByParts(this, work);
            return;
        }

        var (latents, prediction) = (work.Latents, work.Prediction);
        TensorCheck.NormModulate(this, work.Tokens, work.Modulation, 0, work.Normed);
        CheckUpdate(prediction, work.Updates, work.Noise, latents);
        Cancellation.ThrowIfCancellationRequested();
        int side = latents.Shape[2], patchesPerSide = (int)Math.Sqrt(work.Tokens.Shape[1]);
        var shape = new FinalLayerShape(layer.Inputs, side / patchesPerSide, latents.Shape[1], prediction.Shape[1]);
        _kernels.FinalLayer.Launch(Stream, new FinalLayerLaunch(shape, new FinalLayerArguments
        {
            Tokens = Halves(work.Tokens),
            Modulation = Device(work.Modulation),
            Weight = layer.Weight,
            Bias = layer.Bias,
            Sampler = Sampler(work.Updates, work.Noise, latents),
            Side = side,
            Epsilon = work.Epsilon,
        }));
    }

    /// <inheritdoc/>
    public void Convolution(Tensor input, PreparedConvolution layer, in ConvolutionOptions options, Tensor output)
    {
        TensorCheck.Convolution(this, input, layer, options, output);
        Cancellation.ThrowIfCancellationRequested();
        var launch = new ConvolutionLaunch(
            TensorCheck.Prepared<CudaConvolution>(layer), Halves(input), Halves(output), output.Shape[0], output.Shape[1], output.Shape[2])
        {
            Residual = options.Residual is { } residual ? Halves(residual) : DevicePointer.Null,
            Activation = options.Activation,
            UpsamplesInput = options.UpsamplesInput,
        };
        _kernels.Convolution.Launch(Stream, launch);
    }

    /// <inheritdoc/>
    public void GroupNorm(Tensor input, Tensor gamma, Tensor beta, in GroupNormOptions options, Tensor output)
    {
        TensorCheck.GroupNorm(this, input, gamma, beta, options, output);
        Cancellation.ThrowIfCancellationRequested();
        int samples = input.Shape[0], pixels = input.Shape[1] * input.Shape[2], channels = input.RowLength;
        var scratch = Scratch(GroupNormKernel.ScratchBytes(samples, pixels, channels, options.GroupCount));
        _kernels.GroupNorm.Launch(Stream, new GroupNormLaunch(
            Halves(input), Plain(gamma), Plain(beta), scratch, Halves(output), samples, pixels, channels, options.GroupCount, options.Epsilon, options.Activation));
    }

    private static DevicePointer Plain(Tensor tensor)
    {
        var cuda = (CudaTensor)tensor;
        return !cuda.IsHalf ? cuda.Pointer : throw new ArgumentException("an operation on the GPU takes plain values here, not activations", nameof(tensor));
    }

    private static DevicePointer Halves(Tensor tensor)
    {
        RequireHalves(tensor);
        return ((CudaTensor)tensor).Pointer;
    }

    private static void RequireHalves(Tensor tensor)
    {
        if (!((CudaTensor)tensor).IsHalf) throw new ArgumentException("an operation on the GPU takes activations here (AllocateActivations)", nameof(tensor));
    }

    private DeviceModulation Device(in Modulation modulation) => new()
    {
        Table = Plain(modulation.Table),
        Rows = Plain(modulation.RowOfSample),
        Step = Plain(modulation.Step ?? _firstStep),
        Stride = modulation.Table.RowLength,
        SampleCount = modulation.RowOfSample.RowLength,
    };

    /// <summary>Which step it is stands in device memory, so all are checked.</summary>
    private void CheckUpdate(Tensor prediction, UpdateTable updates, Tensor? noise, Tensor latents)
    {
        TensorCheck.StepCounter(this, updates);
        TensorCheck.GuideAndUpdate(this, prediction, updates.Updates, noise, latents);
    }

    private DeviceSampler Sampler(UpdateTable updates, Tensor? noise, Tensor latents)
    {
        WaitForNoise();
        _updatedOutsideRun = true;
        return TensorCheck.Prepared<CudaUpdateTable>(updates).Sampler((CudaTensor?)noise, (CudaTensor)latents);
    }

    /// <summary>Memory that an operation needs while it runs; the next one overwrites it. Grown outside recordings, which hold its address.</summary>
    private DevicePointer Scratch(long byteCount)
    {
        if (_scratch is not null && _scratch.ByteCount >= byteCount) return _scratch.Pointer;
        if (_isRecording) throw new InvalidOperationException("scratch memory would grow inside a recording");
        Stream.Synchronize();
        // Recordings hold the old address, also where there is no memory for a new one.
        _scratch?.Dispose();
        _scratch = null;
        _scratch = _device.Allocate(byteCount);
        _scratchVersion++;
        return _scratch.Pointer;
    }

    /// <summary>A launcher of each kind.</summary>
    private sealed class KernelSet(KernelLibrary library)
    {
        public TimestepFeaturesKernel TimestepFeatures { get; } = new(library);

        public ConditionKernel Condition { get; } = new(library);

        public PatchEmbedKernel PatchEmbed { get; } = new(library);

        public NormModulateKernel NormModulate { get; } = new(library);

        public GemmKernel Gemm { get; } = new(library);

        public DecodeKernel Decode { get; } = new(library);

        public QuantizeRowsKernel QuantizeRows { get; } = new(library);

        public AttentionKernel Attention { get; } = new(library);

        public UnpatchifyKernel Unpatchify { get; } = new(library);

        public SampleUpdateKernel SampleUpdate { get; } = new(library);

        public FinalLayerKernel FinalLayer { get; } = new(library);

        public ConvolutionKernel Convolution { get; } = new(library);

        public GroupNormKernel GroupNorm { get; } = new(library);
    }
}

using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Dpq;

/// <summary>
/// Chooses the codes of all blocks, first to last and layer by layer, for the outputs that they make of what the quantized layers before them hand on. Two streams of the same samples run
/// side by side: the teacher's and the student's.
/// </summary>
/// <param name="workers">Who computes.</param>
/// <param name="blocks">The model in floating point.</param>
/// <param name="teacher">Carries the samples through it.</param>
/// <param name="student">Carries them through the quantized layers.</param>
/// <param name="set">The samples.</param>
/// <param name="nullClass">The class that stands for none.</param>
internal sealed unsafe class AssignmentPass(Workers workers, IReadOnlyList<BlockWeights> blocks, CalibrationRun teacher, CalibrationRun student, CalibrationSet set, int nullClass)
{
    /// <summary>Steps of conjugate gradients after each sweep of a fit.</summary>
    private const int SolveSteps = 8;

    private static readonly ActivationFormat?[] s_unrounded = new ActivationFormat?[4];

    /// <summary>Samples of which a GiB holds what the layers of a block read.</summary>
    public static int SampleLimit(DiTConfig config) => (int)Math.Max(1, (1L << 30) / ((3L * config.HiddenSize + config.MlpSize) * config.TokenCount * sizeof(float)));

    /// <summary>Fits layers to the teacher's outputs.</summary>
    /// <param name="layers">Per block, the five layers.</param>
    /// <param name="sweeps">Visits of every place.</param>
    /// <param name="solves">Whether vectors and row scales are fitted after each sweep, and biases at last; else codes alone change.</param>
    /// <param name="keep">Takes what the codes of a layer were chosen for: block, number in the block, [N, K].</param>
    /// <param name="progress">Told the blocks that are done.</param>
    /// <returns>Codes that have changed, at each sweep counted again.</returns>
    public long Fit(IReadOnlyList<IReadOnlyList<CodebookLayer>> layers, int sweeps, bool solves, Action<int, int, Matrix>? keep = null, Action<int>? progress = null)
    {
        long changes = 0;
        teacher.Embed(set);
        student.Embed(set);
        using var conditions = Conditions();
        for (var block = 0; block < layers.Count; block++)
        {
            var originals = BlockLayers.Of(blocks[block]);
            changes += Fit(layers[block][0], originals[0], conditions, corrects: false, block, 0);
            teacher.Modulate(originals[0]);
            student.Modulate(layers[block][0].ToWeight());
            var tokens = (long)set.Count * teacher.Tokens.SampleLength / originals[1].Inputs;
            var read = originals.Skip(1).Select(layer => new NativeBuffer(tokens * layer.Inputs * sizeof(float))).ToArray();
            try
            {
                var filled = new nint[read.Length];
                teacher.RunBlock(originals[1..], s_unrounded, (layer, inputs) =>
                {
                    inputs.CopyTo(new Span<float>(read[layer].Floats + filled[layer], inputs.Length));
                    filled[layer] += inputs.Length;
                }, keeps: true);
                for (var i = 1; i < originals.Length; i++)
                {
                    using var inputs = new OutputTarget(workers, originals[i].Inputs);
                    nint at = 0;
                    student.RunBlock(Weights(layers[block]), s_unrounded, (layer, values) =>
                    {
                        if (layer != i - 1) return;
                        inputs.Add(new ReadOnlySpan<float>(read[layer].Floats + at, values.Length), values);
                        at += values.Length;
                    }, keeps: false);
                    changes += Fit(layers[block][i], originals[i], inputs, corrects: true, block, i);
                }
            }
            finally
            {
                foreach (var buffer in read) buffer.Dispose();
            }

            student.RunBlock(Weights(layers[block]), s_unrounded, observer: null, keeps: true);
            progress?.Invoke(block + 1);
        }

        return changes;

        long Fit(CodebookLayer layer, LinearWeight original, OutputTarget inputs, bool corrects, int block, int number)
        {
            using NativeBuffer originalBuffer = Values(original), targetBuffer = Values(original);
            var (weights, target) = (Shaped(originalBuffer, layer), Shaped(targetBuffer, layer));
            if (corrects) inputs.Correct(target);
            var count = Update(layer, inputs.Inputs, target, sweeps, solves);
            keep?.Invoke(block, number, target);
            if (layer.Bias is null || !solves) return count;
            layer.Expand(workers, target);
            inputs.CorrectBias(layer.Bias, weights, target);
            return count;
        }
    }

    /// <summary>Visits every place once for given targets; nothing but codes changes.</summary>
    /// <param name="layers">Per block, the five layers.</param>
    /// <param name="copyTarget">Gives what the codes of a layer are to be chosen for: block, number in the block, out [N, K].</param>
    /// <returns>Codes that have changed.</returns>
    public long Reassign(IReadOnlyList<IReadOnlyList<CodebookLayer>> layers, Action<int, int, Matrix> copyTarget)
    {
        long changes = 0;
        student.Embed(set);
        using var conditions = Conditions();
        for (var block = 0; block < layers.Count; block++)
        {
            changes += Reassign(layers[block][0], conditions.Inputs, block, 0);
            student.Modulate(layers[block][0].ToWeight());
            var inputs = layers[block].Skip(1).Select(layer => new Hessian(workers, layer.Inputs)).ToArray();
            try
            {
                student.RunBlock(Weights(layers[block]), s_unrounded, (layer, values) => inputs[layer].Add(values), keeps: false);
                for (var i = 0; i < inputs.Length; i++) changes += Reassign(layers[block][i + 1], inputs[i], block, i + 1);
            }
            finally
            {
                foreach (var hessian in inputs) hessian.Dispose();
            }

            student.RunBlock(Weights(layers[block]), s_unrounded, observer: null, keeps: true);
        }

        return changes;

        long Reassign(CodebookLayer layer, Hessian hessian, int block, int number)
        {
            using var buffer = new NativeBuffer((long)layer.Outputs * layer.Inputs * sizeof(float));
            var target = Shaped(buffer, layer);
            copyTarget(block, number, target);
            return Update(layer, hessian, target, sweeps: 1, solves: false);
        }
    }

    private static LinearWeight[] Weights(IReadOnlyList<CodebookLayer> layers) => [.. layers.Skip(1).Select(layer => layer.ToWeight())];

    private static Matrix Shaped(NativeBuffer buffer, CodebookLayer layer) => new(buffer.Floats, layer.Outputs, layer.Inputs, layer.Inputs);

    private static NativeBuffer Values(LinearWeight weight)
    {
        var buffer = new NativeBuffer((long)weight.Outputs * weight.Inputs * sizeof(float));
        weight.CopyRows(0, weight.Outputs, new Span<float>(buffer.Floats, weight.Outputs * weight.Inputs));
        return buffer;
    }

    /// <summary>What adaLN reads: the same for both.</summary>
    private OutputTarget Conditions()
    {
        var values = student.ModulationInputs(set.Pairs(nullClass));
        var inputs = new OutputTarget(workers, blocks[0].Modulation.Inputs);
        inputs.Add(values, values);
        return inputs;
    }

    private long Update(CodebookLayer layer, Hessian inputs, Matrix target, int sweeps, bool solves)
    {
        using var buffer = new NativeBuffer((long)inputs.Size * inputs.Size * sizeof(float));
        inputs.CopyTo(buffer.Floats);
        double mean = 0;
        for (var i = 0; i < inputs.Size; i++) mean += inputs[i, i] / inputs.Size;
        var damping = mean > 0 ? Gptq.DampingRatio * mean : 1;
        for (var i = 0; i < inputs.Size; i++) buffer.Floats[(nint)i * inputs.Size + i] += (float)damping;
        using var update = new AssignmentUpdate(workers, target, new Matrix(buffer.Floats, inputs.Size, inputs.Size, inputs.Size));
        long changes = 0;
        for (var sweep = 0; sweep < sweeps; sweep++)
        {
            changes += update.Sweep(layer);
            if (!solves) continue;
            update.SolveRowScales(layer);
            update.SolveVectors(layer, SolveSteps);
        }

        return changes;
    }
}

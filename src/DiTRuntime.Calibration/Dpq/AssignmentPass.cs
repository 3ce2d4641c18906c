using DiTRuntime.Backends.Cpu;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Models;

namespace DiTRuntime.Calibration.Dpq;

/// <summary>Chooses the codes of all blocks, first to last, for the outputs that they make of what the quantized blocks before them hand on.</summary>
/// <param name="workers">Who computes.</param>
/// <param name="run">Carries the calibration samples.</param>
/// <param name="set">The samples.</param>
/// <param name="config">The architecture.</param>
internal sealed unsafe class AssignmentPass(Workers workers, CalibrationRun run, CalibrationSet set, DiTConfig config) : IDisposable
{
    /// <summary>Steps of conjugate gradients after each sweep that vectors are fitted in.</summary>
    private const int SolveSteps = 8;

    private readonly Hessian _modulationInputs = ModulationInputs(workers, run, set, config);

    /// <summary>Copies what the codes of a layer are to be chosen for.</summary>
    /// <param name="block">Its block.</param>
    /// <param name="layer">Its number in the block, as in <see cref="BlockLayers.Of"/>.</param>
    /// <param name="target">out [N, K].</param>
    public delegate void CopyTarget(int block, int layer, Span<float> target);

    /// <summary>Updates all codes.</summary>
    /// <param name="layers">Per block, the five layers.</param>
    /// <param name="target">What for.</param>
    /// <param name="sweeps">Visits of every place.</param>
    /// <param name="solves">Whether vectors and row scales are fitted after each sweep.</param>
    /// <param name="progress">Told the blocks that are done.</param>
    /// <returns>Codes that have changed in each layer, at each sweep counted again.</returns>
    public long Run(IReadOnlyList<IReadOnlyList<DpqLayer>> layers, CopyTarget target, int sweeps, bool solves, Action<int>? progress = null)
    {
        long changes = 0;
        run.Embed(set);
        for (var block = 0; block < layers.Count; block++)
        {
            changes += Update(layers[block][0], _modulationInputs, block, 0, target, sweeps, solves);
            run.Modulate(layers[block][0].ToWeight());
            var hessians = layers[block].Skip(1).Select(layer => new Hessian(workers, layer.Inputs)).ToArray();
            try
            {
                run.RunBlock([.. layers[block].Skip(1).Select(layer => layer.ToWeight())], new Quantization.ActivationFormat?[hessians.Length], (layer, inputs) => hessians[layer].Add(inputs), keeps: false);
                for (var i = 0; i < hessians.Length; i++) changes += Update(layers[block][i + 1], hessians[i], block, i + 1, target, sweeps, solves);
            }
            finally
            {
                foreach (var hessian in hessians) hessian.Dispose();
            }

            run.RunBlock([.. layers[block].Skip(1).Select(layer => layer.ToWeight())], new Quantization.ActivationFormat?[hessians.Length], observer: null, keeps: true);
            progress?.Invoke(block + 1);
        }

        return changes;
    }

    /// <inheritdoc/>
    public void Dispose() => _modulationInputs.Dispose();

    private static Hessian ModulationInputs(Workers workers, CalibrationRun run, CalibrationSet set, DiTConfig config)
    {
        var hessian = new Hessian(workers, config.HiddenSize);
        hessian.Add(run.ModulationInputs(set.Pairs(config.NullClass)));
        return hessian;
    }

    private long Update(DpqLayer layer, Hessian inputs, int block, int number, CopyTarget target, int sweeps, bool solves)
    {
        using var hessian = new NativeBuffer((long)inputs.Size * inputs.Size * sizeof(float));
        inputs.CopyTo(hessian.Floats);
        double mean = 0;
        for (var i = 0; i < inputs.Size; i++) mean += inputs[i, i] / inputs.Size;
        var damping = mean > 0 ? Gptq.DampingRatio * mean : 1;
        for (var i = 0; i < inputs.Size; i++) hessian.Floats[(nint)i * inputs.Size + i] += (float)damping;

        using var weights = new NativeBuffer((long)layer.Outputs * layer.Inputs * sizeof(float));
        target(block, number, new Span<float>(weights.Floats, layer.Outputs * layer.Inputs));
        using var update = new AssignmentUpdate(workers, new Matrix(weights.Floats, layer.Outputs, layer.Inputs, layer.Inputs), new Matrix(hessian.Floats, inputs.Size, inputs.Size, inputs.Size));
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

using DiTRuntime.Backends.Cpu.LowBit;
using DiTRuntime.Quantization;

namespace DiTRuntime.Backends.Cpu;

/// <summary>Weights into panels: neighbouring outputs beside each other, so that a tile reads one stream.</summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    /// <inheritdoc/>
    public override PreparedLinear Prepare(LinearWeight weight, LinearUse use = LinearUse.Linear)
    {
        if (weight is GroupWeight group) return new CpuGroupLinear(group);
        if (weight is CodebookWeight books) return new CpuCodebookLinear(books);
        var panelCount = DivideUp(weight.Outputs, PanelWidth);
        var panels = new NativeBuffer((long)panelCount * weight.Inputs * PanelWidth * sizeof(float));
        var bias = PadBias(weight.Bias, panelCount);
        try
        {
            var job = new PackJob { Weight = weight, Panels = panels.Floats };
            Pool.Run(job, panelCount, checked(PanelWidth * weight.Inputs * sizeof(float)));
        }
        catch
        {
            panels.Dispose();
            bias.Dispose();
            throw;
        }

        return new CpuLinear(weight.Name, weight.Outputs, weight.Inputs, panels, bias);
    }

    /// <inheritdoc/>
    public override PreparedConvolution Prepare(ConvolutionWeight weight)
    {
        var values = weight.ToArray();
        int taps = weight.KernelSize * weight.KernelSize, inputs = weight.Inputs;
        var panelCount = DivideUp(weight.Outputs, PanelWidth);
        var panels = new NativeBuffer((long)panelCount * taps * inputs * PanelWidth * sizeof(float));
        for (var n = 0; n < weight.Outputs; n++)
        {
            var panel = panels.Floats + (long)(n / PanelWidth) * taps * inputs * PanelWidth + n % PanelWidth;
            for (var c = 0; c < inputs; c++)
                for (var tap = 0; tap < taps; tap++)
                    panel[((long)tap * inputs + c) * PanelWidth] = values[(n * inputs + c) * taps + tap];
        }

        Grow(ref _zeroPixel, (long)inputs * sizeof(float));
        return new CpuConvolution(weight.Name, weight.Outputs, inputs, weight.KernelSize, panels, PadBias(weight.Bias, panelCount));
    }

    private static NativeBuffer PadBias(float[]? bias, int panelCount)
    {
        var buffer = new NativeBuffer((long)panelCount * PanelWidth * sizeof(float));
        bias?.CopyTo(new Span<float>(buffer.Floats, bias.Length));
        return buffer;
    }

    private struct PackJob : IJob
    {
        public LinearWeight Weight;
        public float* Panels;

        public readonly void Execute(int task, byte* scratch)
        {
            int depth = Weight.Inputs, firstOutput = task * PanelWidth;
            var outputs = Math.Min(PanelWidth, Weight.Outputs - firstOutput);
            var rows = (float*)scratch;
            Weight.CopyRows(firstOutput, outputs, new Span<float>(rows, outputs * depth));
            var panel = Panels + (long)task * depth * PanelWidth;
            // A cache line of each row at a time, so that both sides of the transposition stay in the first cache.
            for (var block = 0; block < depth; block += 16)
                for (var n = 0; n < outputs; n++)
                    for (var k = block; k < Math.Min(block + 16, depth); k++)
                        panel[(long)k * PanelWidth + n] = rows[n * depth + k];
        }
    }
}

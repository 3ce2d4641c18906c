using System.Runtime.InteropServices;
using DiTRuntime.Backends;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>A convolution's weight as <c>convolution_kernel</c> reads it.</summary>
/// <param name="Name">The layer's name.</param>
/// <param name="Outputs">Cout.</param>
/// <param name="Inputs">Cin.</param>
/// <param name="KernelSize">Side of the square kernel, odd.</param>
/// <param name="Bytes">Fragments, then the bias.</param>
/// <param name="BiasOffset">Where the bias begins, a multiple of 16.</param>
internal sealed record PackedConvolution(string Name, int Outputs, int Inputs, int KernelSize, byte[] Bytes, int BiasOffset);

/// <summary>Brings a convolution's weight into the order in which mma_f16 wants it.</summary>
/// <remarks>
/// K runs over taps, then channels, each tap's channels padded with zeros to 32. A fragment is what one lane (g = lane/4, t = lane%4) needs of 16
/// outputs and 16 steps of K: eight halves, rows 2t, 2t+1, 2t+8, 2t+9 of output g, then of output g + 8.
/// </remarks>
internal static class ConvolutionPacker
{
    private const int ChannelMultiple = 32, Lanes = 32, HalvesOfLane = 8;

    /// <summary>Packs.</summary>
    /// <exception cref="InvalidFileException">A weight is not finite, or too large for f16.</exception>
    /// <exception cref="ArgumentException">The kernel's side is even.</exception>
    public static PackedConvolution Pack(ConvolutionWeight weight)
    {
        if (weight.KernelSize % 2 == 0) throw new ArgumentException($"{weight.Name} has a kernel of {weight.KernelSize}, expected an odd one", nameof(weight));
        var values = weight.ToArray();
        var taps = weight.KernelSize * weight.KernelSize;
        var groups = (weight.Outputs + 15) / 16;
        var stepsOfTap = (weight.Inputs + ChannelMultiple - 1) / ChannelMultiple * (ChannelMultiple / 16);
        var biasOffset = checked(groups * taps * stepsOfTap * Lanes * HalvesOfLane * sizeof(ushort));
        var bytes = new byte[biasOffset + groups * 16 * sizeof(float)];
        var halves = MemoryMarshal.Cast<byte, Half>(bytes.AsSpan(0, biasOffset));
        var at = 0;
        for (var group = 0; group < groups; group++)
            for (var tap = 0; tap < taps; tap++)
                for (var step = 0; step < stepsOfTap; step++)
                    for (var lane = 0; lane < Lanes; lane++)
                        for (var i = 0; i < HalvesOfLane; i++, at++)
                        {
                            var output = group * 16 + i / 4 * 8 + lane / 4;
                            var input = step * 16 + i % 4 / 2 * 8 + lane % 4 * 2 + i % 2;
                            if (output < weight.Outputs && input < weight.Inputs)
                                halves[at] = ToHalf(values[(output * weight.Inputs + input) * taps + tap], weight);
                        }

        weight.Bias?.CopyTo(MemoryMarshal.Cast<byte, float>(bytes.AsSpan(biasOffset)));
        return new PackedConvolution(weight.Name, weight.Outputs, weight.Inputs, weight.KernelSize, bytes, biasOffset);
    }

    private static Half ToHalf(float value, ConvolutionWeight weight)
    {
        var half = (Half)value;
        return Half.IsFinite(half)
            ? half
            : throw new InvalidFileException(weight.File, $"{weight.Name} holds the weight {value}, the GPU's f16 ends at 65504; decode on the cpu backend");
    }
}

using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using DiTRuntime.Quantization;

namespace DiTRuntime.Backends.Cpu.LowBit;

/// <summary>One group of activations to u8: the codes of <see cref="ActivationQuantizer"/>, eight values at a time.</summary>
internal static unsafe class ActivationKernel
{
    /// <summary>Quantizes one group of a row.</summary>
    /// <param name="x">in [count].</param>
    /// <param name="count">Values.</param>
    /// <param name="target">Where codes, scale, zero point and sum go.</param>
    /// <param name="row">Row of the target.</param>
    /// <param name="group">Group of the row.</param>
    public static void QuantizeGroup(float* x, int count, in ActivationTarget target, long row, int group)
    {
        var (scale, zero) = target.StaticRanges == null
            ? Range(x, count)
            : (target.StaticRanges[group], (int)target.StaticRanges[target.GroupCount + group]);
        var codes = target.Codes + row * target.CodeStride + group * target.GroupSize;
        var at = group * target.RowStride + row;
        target.Scales[at] = scale;
        target.Zeros[at] = zero;
        target.Sums[at] = Encode(x, count, 1 / scale, zero, codes);
    }

    private static (float Scale, int Zero) Range(float* x, int count)
    {
        var min = Vector256<float>.Zero;
        var max = Vector256<float>.Zero;
        var i = 0;
        if (Vector512.IsHardwareAccelerated && count >= 16)
        {
            var (wideMin, wideMax) = (Vector512<float>.Zero, Vector512<float>.Zero);
            for (; i <= count - 16; i += 16)
            {
                var v = Vector512.Load(x + i);
                wideMin = Vector512.MinNative(v, wideMin);
                wideMax = Vector512.MaxNative(v, wideMax);
            }

            min = Vector256.MinNative(wideMin.GetLower(), wideMin.GetUpper());
            max = Vector256.MaxNative(wideMax.GetLower(), wideMax.GetUpper());
        }

        for (; i <= count - 8; i += 8)
        {
            var v = Vector256.Load(x + i);
            min = Vector256.MinNative(v, min);
            max = Vector256.MaxNative(v, max);
        }

        var (smallest, largest) = (Least(min), -Least(-max));
        for (; i < count; i++)
        {
            smallest = MathF.Min(smallest, x[i]);
            largest = MathF.Max(largest, x[i]);
        }

        return ActivationQuantizer.Range(smallest, largest);
    }

    private static float Least(Vector256<float> values)
    {
        var four = Vector128.MinNative(values.GetLower(), values.GetUpper());
        var two = Vector128.MinNative(four, Vector128.Shuffle(four, Vector128.Create(2, 3, 0, 1)));
        return Vector128.MinNative(two, Vector128.Shuffle(two, Vector128.Create(1, 0, 3, 2))).ToScalar();
    }

    /// <summary>Writes the codes and returns their sum.</summary>
    private static int Encode(float* x, int count, float inverse, int zero, byte* codes)
    {
        var s = Vector256.Create(inverse);
        var z = Vector256.Create(zero);
        var sums = Vector256<int>.Zero;
        var i = 0;
        if (Avx512F.IsSupported)
        {
            var wide = Vector512<int>.Zero;
            for (; i <= count - 16; i += 16)
            {
                var code = Code(Vector512.Load(x + i), Vector512.Create(inverse), Vector512.Create(zero));
                wide += code;
                Avx512F.ConvertToVector128Byte(code.AsUInt32()).Store(codes + i);
            }

            sums = wide.GetLower() + wide.GetUpper();
        }

        for (; i <= count - 32; i += 32)
        {
            var c0 = Code(Vector256.Load(x + i), s, z);
            var c1 = Code(Vector256.Load(x + i + 8), s, z);
            var c2 = Code(Vector256.Load(x + i + 16), s, z);
            var c3 = Code(Vector256.Load(x + i + 24), s, z);
            sums += c0 + c1 + c2 + c3;
            Vector256.Narrow(Vector256.Narrow(c0, c1).AsUInt16(), Vector256.Narrow(c2, c3).AsUInt16()).Store(codes + i);
        }

        var sum = Vector256.Sum(sums);
        for (; i < count; i++)
        {
            codes[i] = (byte)Math.Clamp(MathF.Round(x[i] * inverse) + zero, 0, ActivationQuantizer.MaxCode);
            sum += codes[i];
        }

        return sum;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> Code(Vector512<float> x, Vector512<float> inverse, Vector512<int> zero)
    {
        var limit = Vector512.Create(512f);
        var scaled = Vector512.MaxNative(Vector512.MinNative(x * inverse, limit), -limit);
        var code = Vector512.ConvertToInt32Native(Vector512.Round(scaled)) + zero;
        return Vector512.Min(Vector512.Max(code, Vector512<int>.Zero), Vector512.Create(ActivationQuantizer.MaxCode));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Code(Vector256<float> x, Vector256<float> inverse, Vector256<int> zero)
    {
        // Beyond ±512 every code is clamped anyway, and the conversion to integers stays defined.
        var limit = Vector256.Create(512f);
        var scaled = Vector256.MaxNative(Vector256.MinNative(x * inverse, limit), -limit);
        var code = Vector256.ConvertToInt32Native(Vector256.Round(scaled)) + zero;
        return Vector256.Min(Vector256.Max(code, Vector256<int>.Zero), Vector256.Create(ActivationQuantizer.MaxCode));
    }
}

/// <summary>The pointers of quantized activations, for jobs.</summary>
internal unsafe struct ActivationTarget
{
    public byte* Codes;
    public int CodeStride;
    public float* Scales;
    public int* Zeros;
    public int* Sums;
    public float* StaticRanges;
    public long RowStride;
    public int GroupCount;
    public int GroupSize;

    public ActivationTarget(CpuActivations tensor)
    {
        Codes = tensor.Codes;
        CodeStride = tensor.CodeStride;
        Scales = tensor.Scales;
        Zeros = tensor.Zeros;
        Sums = tensor.Sums;
        StaticRanges = tensor.StaticRanges;
        RowStride = tensor.RowStride;
        GroupCount = tensor.Grid.Count;
        GroupSize = tensor.Grid.Size;
    }

    /// <summary>Quantizes a whole row.</summary>
    public readonly void QuantizeRow(float* x, int width, long row)
    {
        for (var g = 0; g < GroupCount; g++)
            ActivationKernel.QuantizeGroup(x + g * GroupSize, Math.Min(GroupSize, width - g * GroupSize), this, row, g);
    }
}

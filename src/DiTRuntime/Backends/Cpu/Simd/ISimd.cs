namespace DiTRuntime.Backends.Cpu.Simd;

/// <summary>
/// The vector operations the CPU kernels are written in, once for every width. Each operation is the same IEEE
/// operation per lane at every width (fused multiply-add included), so a kernel that keeps its order of additions
/// gives the same bits on every machine.
/// </summary>
/// <typeparam name="TVec">The vector type: <c>Vector512&lt;float&gt;</c>, 256 or 128.</typeparam>
internal unsafe interface ISimd<TVec>
    where TVec : struct
{
    /// <summary>fp32 lanes in a vector.</summary>
    static abstract int Lanes { get; }

    /// <summary>Whether the machine has 32 vector registers of this width, and not 16.</summary>
    static abstract bool HasManyRegisters { get; }

    static abstract TVec Load(float* source);

    static abstract void Store(TVec value, float* destination);

    static abstract TVec Broadcast(float value);

    static abstract TVec Add(TVec a, TVec b);

    static abstract TVec Subtract(TVec a, TVec b);

    static abstract TVec Multiply(TVec a, TVec b);

    static abstract TVec Divide(TVec a, TVec b);

    static abstract TVec Min(TVec a, TVec b);

    static abstract TVec Max(TVec a, TVec b);

    /// <summary>a &lt; b ? ifLess : otherwise; where one of a and b is NaN, otherwise.</summary>
    static abstract TVec SelectLess(TVec a, TVec b, TVec ifLess, TVec otherwise);

    /// <summary>a·b + c, rounded once.</summary>
    static abstract TVec MultiplyAdd(TVec a, TVec b, TVec c);

    /// <summary>Multiplies by 2^n, n being the low bits of the mantissa of <paramref name="shifted"/>: the integer stands in bits 0 and up.</summary>
    static abstract TVec ScaleByPowerOfTwo(TVec value, TVec shifted);
}

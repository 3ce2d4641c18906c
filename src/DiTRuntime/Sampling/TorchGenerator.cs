namespace DiTRuntime.Sampling;

/// <summary>PyTorch's CPU random generator: the same numbers from the same seed.</summary>
/// <remarks>
/// MT19937 (Matsumoto and Nishimura 1998) and PyTorch's ways of making floats of its output. Integers and uniforms agree
/// to the bit; normals of fewer than 16 values too, longer ones to 1e-6 (PyTorch evaluates those with vectorised
/// single-precision approximations). No method allocates.
/// </remarks>
public sealed class TorchGenerator
{
    // Parameters of MT19937.
    private const int StateSize = 624;
    private const int ShiftSize = 397;
    private const uint TwistMatrix = 0x9908B0DF;
    private const uint UpperBit = 0x80000000;

    // PyTorch transforms normals 16 at a time: radii from the first half of a block, angles from the second.
    private const int Block = 16;

    private readonly uint[] _state = new uint[StateSize];
    private int _next;
    private double _cachedNormal;
    private bool _hasCachedNormal;

    /// <param name="seed">Any seed; as in PyTorch only its low 32 bits count.</param>
    public TorchGenerator(ulong seed) => Reseed(seed);

    /// <summary>Starts over, as a new generator with this seed would.</summary>
    public void Reseed(ulong seed)
    {
        _state[0] = (uint)seed;
        for (var i = 1; i < StateSize; i++)
            _state[i] = 1812433253 * (_state[i - 1] ^ (_state[i - 1] >> 30)) + (uint)i;
        _next = StateSize;
        _hasCachedNormal = false;
    }

    /// <summary>The next 32 bits.</summary>
    public uint NextUInt32()
    {
        if (_next == StateSize) Regenerate();
        var y = _state[_next++];
        y ^= y >> 11;
        y ^= (y << 7) & 0x9D2C5680;
        y ^= (y << 15) & 0xEFC60000;
        return y ^ (y >> 18);
    }

    /// <summary>torch.randint(0, bound): one integer from 0 to bound − 1.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The bound is 0.</exception>
    public uint NextInt(uint bound)
    {
        ArgumentOutOfRangeException.ThrowIfZero(bound);
        return NextUInt32() % bound;
    }

    /// <summary>torch.rand: floats from [0, 1).</summary>
    public void Uniform(Span<float> destination)
    {
        for (var i = 0; i < destination.Length; i++) destination[i] = (NextUInt32() & 0xFFFFFF) * (1f / (1 << 24));
    }

    /// <summary>torch.randn of a contiguous tensor of this many floats; how they are drawn depends on the length.</summary>
    public void Normal(Span<float> destination)
    {
        if (destination.Length < Block)
        {
            foreach (ref var value in destination) value = (float)NextNormal();
            return;
        }

        Uniform(destination);
        for (var i = 0; i + Block <= destination.Length; i += Block) TransformBlock(destination.Slice(i, Block));
        if (destination.Length % Block == 0) return;
        var tail = destination[^Block..];
        Uniform(tail);
        TransformBlock(tail);
    }

    // Box and Muller 1958. Each function is evaluated in double and rounded once, which makes the result the same on
    // every platform and closest to any other correct evaluation.
    private static void TransformBlock(Span<float> block)
    {
        for (var j = 0; j < Block / 2; j++)
        {
            var radius = MathF.Sqrt(-2 * (float)Math.Log(1 - block[j]));
            var (sine, cosine) = Math.SinCos(2 * MathF.PI * block[j + Block / 2]);
            block[j] = radius * (float)cosine;
            block[j + Block / 2] = radius * (float)sine;
        }
    }

    private double NextNormal()
    {
        if (_hasCachedNormal)
        {
            _hasCachedNormal = false;
            return _cachedNormal;
        }

        var angle = 2 * Math.PI * NextDouble();
        // A multiple of 2⁻⁵³ below 1 has an exact difference to 1, so this is log1p(−u).
        var radius = Math.Sqrt(-2 * Math.Log(1 - NextDouble()));
        _cachedNormal = radius * Math.Sin(angle);
        _hasCachedNormal = true;
        return radius * Math.Cos(angle);
    }

    private double NextDouble()
    {
        var high = (ulong)NextUInt32();
        return (((high << 32) | NextUInt32()) & ((1UL << 53) - 1)) * (1.0 / (1UL << 53));
    }

    private void Regenerate()
    {
        for (var i = 0; i < StateSize; i++)
        {
            var y = (_state[i] & UpperBit) | (_state[(i + 1) % StateSize] & ~UpperBit);
            _state[i] = _state[(i + ShiftSize) % StateSize] ^ (y >> 1) ^ ((y & 1) * TwistMatrix);
        }

        _next = 0;
    }
}

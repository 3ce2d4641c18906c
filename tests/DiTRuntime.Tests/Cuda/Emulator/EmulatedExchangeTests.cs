using System.Runtime.InteropServices;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Devices.Emulated;

namespace DiTRuntime.Tests.Cuda.Emulator;

/// <summary>What threads of the emulated device compute together, against plain loops.</summary>
public sealed class EmulatedExchangeTests
{
    private GpuModule? _module;

    [OneTimeSetUp]
    public void Compile() => _module = EmulatedKernels.Load(TestDevice.Device, "exchange.cu");

    [OneTimeTearDown]
    public void Unload() => _module?.Dispose();

    [Test]
    public void Shuffles_and_votes_match_their_definition()
    {
        var v = Enumerable.Range(0, 32).Select(i => (uint)(i * 37 % 101)).ToArray();
        using var input = TestDevice.Upload<uint>(v);
        using var output = TestDevice.Zeroed(7 * 32 * 4);

        Launch("lanes_kernel", 32, 0, new TwoPointers { First = input.Pointer, Second = output.Pointer });

        var actual = TestDevice.Download<uint>(output, 7 * 32);
        var ballot = v.Select((x, i) => x % 3 == 0 ? 1u << i : 0).Aggregate((a, b) => a | b);
        for (var i = 0; i < 32; i++)
        {
            Assert.That(actual[i], Is.EqualTo(v[(i * 5 + 3) % 32]), "indexed");
            Assert.That(actual[32 + i], Is.EqualTo(v[i ^ 9]), "xor");
            Assert.That(actual[64 + i], Is.EqualTo(i + 5 < 32 ? v[i + 5] : v[i]), "down");
            Assert.That(actual[96 + i], Is.EqualTo(ballot), "ballot");
            Assert.That(actual[128 + i], Is.EqualTo(2), "any: the second question only");
            Assert.That(actual[160 + i], Is.EqualTo(1), "all: the first question only");
            Assert.That(actual[192 + i], Is.EqualTo(v[4]), "eight bytes");
        }
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    public void Matrix_loads_and_products_match_plain_loops(int kind)
    {
        var random = new Random(kind);
        var (a, b, d) = (new byte[512], new byte[256], new uint[128]);
        random.NextBytes(a);
        random.NextBytes(b);
        for (var i = 0; i < d.Length; i++) d[i] = kind == 0 ? BitConverter.SingleToUInt32Bits(random.NextSingle() * 9 - 4) : (uint)random.Next(-1_000_000, 1_000_000);
        if (kind == 0)
        {
            foreach (ref var half in MemoryMarshal.Cast<byte, Half>(a.AsSpan())) half = (Half)(random.NextSingle() * 4 - 2);
            foreach (ref var half in MemoryMarshal.Cast<byte, Half>(b.AsSpan())) half = (Half)(random.NextSingle() * 4 - 2);
        }

        using var left = TestDevice.Upload<byte>(a);
        using var right = TestDevice.Upload<byte>(b);
        using var sums = TestDevice.Upload<uint>(d);
        using var transposed = TestDevice.Zeroed(4 * 32 * 4);
        Launch("matrix_kernel", 32, 768, new MatrixArguments { A = left.Pointer, B = right.Pointer, D = sums.Pointer, Transposed = transposed.Pointer, Kind = kind });

        var actual = TestDevice.Download<uint>(sums, 128);
        for (var i = 0; i < 16; i++)
            for (var n = 0; n < 8; n++)
                Assert.That(actual[8 * i + n], Is.EqualTo(kind == 0 ? HalfProduct(a, b, d, i, n) : ByteProduct(a, b, d, i, n, kind)), $"row {i}, column {n}");

        // Block j of A: rows 8(j%2).., halves 8(j/2)... Register j of lane i: rows 2(i%4), +1 of column i/4.
        var columns = TestDevice.Download<ushort>(transposed, 256);
        for (var j = 0; j < 4; j++)
            for (var i = 0; i < 64; i++)
                Assert.That(columns[64 * j + i], Is.EqualTo(BitConverter.ToUInt16(a, (8 * (j % 2) + i % 8) * 32 + (8 * (j / 2) + i / 8) * 2)), $"block {j}");
    }

    [Test]
    public void Blocks_copies_and_atomics_work_together_in_any_order([Values(1ul, 2ul, 77ul)] ulong seed, [Values(1, 4)] int threadCount)
    {
        using var device = new EmulatedDevice(EmulatedKernels.Compiler, new EmulatedDeviceOptions { Seed = seed, ThreadCount = threadCount });
        using var module = EmulatedKernels.Load(device, "exchange.cu");
        using var stream = device.CreateStream();
        const int Count = 1028;
        using var buffer = device.Allocate(8 * Count + 4);
        using var pinned = device.AllocatePinned(8 * Count + 4);
        var values = MemoryMarshal.Cast<byte, float>(pinned.Bytes);
        for (var i = 0; i < Count; i++) values[i] = i + 1;
        stream.Fill(buffer.Pointer, 0, buffer.ByteCount);
        stream.CopyToDevice(pinned, 0, buffer.Pointer, 4 * Count);

        var arguments = new BlockArguments { X = buffer.Pointer, Y = buffer.Pointer + 4 * Count, Counter = buffer.Pointer + 8 * Count, Count = Count, Factor = 0.5f };
        stream.Launch(module.Kernel("blocks_kernel"), new LaunchShape(3, 3, 1, 128, 512), arguments);

        stream.CopyToHost(buffer.Pointer, pinned, 0, buffer.ByteCount);
        for (var i = 0; i < Count; i++)
        {
            var from = i / 128 * 128 + 127 - i % 128;
            Assert.That(values[Count + i], Is.EqualTo(from < Count ? 0.5f * (from + 1) : 0));
        }

        Assert.That(BitConverter.SingleToUInt32Bits(values[2 * Count]), Is.EqualTo(9));
    }

    [Test]
    public void Threads_run_in_an_order_that_the_seed_gives()
    {
        var first = Order(5);
        Assert.That(Order(5), Is.EqualTo(first));
        Assert.That(Order(6), Is.Not.EqualTo(first));
        Assert.That(first.Order(), Is.EqualTo(Enumerable.Range(0, 256)));
        Assert.That(first, Is.Not.EqualTo(Enumerable.Range(0, 256)));

        static int[] Order(ulong seed)
        {
            using var device = new EmulatedDevice(EmulatedKernels.Compiler, new EmulatedDeviceOptions { Seed = seed });
            using var module = EmulatedKernels.Load(device, "exchange.cu");
            using var stream = device.CreateStream();
            using var buffer = device.Allocate(4 + 4 * 256);
            using var pinned = device.AllocatePinned(buffer.ByteCount);
            stream.Fill(buffer.Pointer, 0, buffer.ByteCount);
            stream.Launch(module.Kernel("order_kernel"), new LaunchShape(1, 1, 1, 256, 0), new TwoPointers { First = buffer.Pointer, Second = buffer.Pointer + 4 });
            stream.CopyToHost(buffer.Pointer, pinned, 0, buffer.ByteCount);
            return MemoryMarshal.Cast<byte, int>(pinned.Bytes)[1..257].ToArray();
        }
    }

    [Test]
    public void Scalar_functions_match_the_platform()
    {
        var x = Enumerable.Range(0, 32).Select(i => (i - 11) * 7.3f / (i % 5 + 1)).ToArray();
        (x[3], x[7], x[8], x[9]) = (2.5f, 1e12f, 65519.9f, 1e-7f);
        using var input = TestDevice.Upload<float>(x);
        using var output = TestDevice.Zeroed(12 * 32 * 4);

        Launch("scalars_kernel", 32, 0, new TwoPointers { First = input.Pointer, Second = output.Pointer });

        var actual = TestDevice.Download<uint>(output, 12 * 32);
        static uint Bits(Half v) => BitConverter.HalfToUInt16Bits(v);
        static uint Pair(Half low, Half high) => Bits(low) | Bits(high) << 16;
        static int Rounded(float v) => v >= int.MaxValue ? int.MaxValue : (int)MathF.Round(v, MidpointRounding.ToEven);
        for (var i = 0; i < 32; i++)
        {
            float v = x[i], w = x[(i + 1) % 32];
            Half p = (Half)v, q = (Half)w;
            Assert.That(actual[i], Is.EqualTo(Bits(p)), $"half of {v}");
            Assert.That(actual[32 + i], Is.EqualTo(Pair(p + q, q + q)), "sum");
            if (Half.IsFinite(q)) Assert.That(actual[64 + i], Is.EqualTo(Pair(p - q, q - q)), "difference");
            Assert.That(actual[96 + i], Is.EqualTo(Pair(p * q, q * q)), "product");
            Assert.That((int)actual[128 + i], Is.EqualTo(Rounded(v)), $"round {v}");
            var packed = new[] { Rounded(v), Rounded(w), -Rounded(v), 300 }.Select((c, j) => (uint)Math.Clamp(c, 0, 255) << 8 * j).Aggregate((s, t) => s | t);
            Assert.That(actual[160 + i], Is.EqualTo(packed), "pack");
            byte[] bytes = [.. BitConverter.GetBytes(v), .. BitConverter.GetBytes(w)];
            Assert.That(actual[192 + i], Is.EqualTo(7 + Enumerable.Range(0, 4).Sum(j => bytes[j] * bytes[j + 4])), "dot");
            Assert.That(actual[224 + i], Is.EqualTo(bytes[1] | (uint)bytes[5] << 8 | ((bytes[2] & 128) != 0 ? 255u : 0) << 16 | (uint)bytes[3] << 24), "permute");
            if (v != 0) Assert.That(BitConverter.UInt32BitsToSingle(actual[256 + i]), Is.EqualTo(1 / v).Within(1).Ulps, "reciprocal");
            if (v > 0) Assert.That(BitConverter.UInt32BitsToSingle(actual[288 + i]), Is.EqualTo(1 / MathF.Sqrt(v)).Within(2).Ulps, "reciprocal square root");
            Assert.That(BitConverter.UInt32BitsToSingle(actual[320 + i]), Is.EqualTo(MathF.Pow(2, v)).Within(2).Ulps, "power of two");
            Assert.That(BitConverter.UInt32BitsToSingle(actual[352 + i]), Is.EqualTo(MathF.Min(v, MathF.Max(w, 0))), "minimum");
        }
    }

    // k ascending, one rounding a sum: products of halves are exact.
    private static uint HalfProduct(byte[] a, byte[] b, uint[] d, int i, int n)
    {
        var sum = BitConverter.UInt32BitsToSingle(d[8 * i + n]);
        for (var k = 0; k < 16; k++) sum += (float)BitConverter.ToHalf(a, 32 * i + 2 * k) * (float)BitConverter.ToHalf(b, 32 * n + 2 * k);
        return BitConverter.SingleToUInt32Bits(sum);
    }

    private static uint ByteProduct(byte[] a, byte[] b, uint[] d, int i, int n, int kind)
    {
        var sum = (int)d[8 * i + n];
        for (var k = 0; k < 32; k++)
            sum += (kind == 1 ? (sbyte)a[32 * i + k] : a[32 * i + k]) * (kind == 3 ? b[32 * n + k] : (sbyte)b[32 * n + k]);
        return (uint)sum;
    }

    private void Launch<T>(string entry, int threads, int sharedBytes, in T arguments)
        where T : unmanaged =>
        TestDevice.Stream.Launch(_module!.Kernel(entry), new LaunchShape(1, 1, 1, threads, sharedBytes), arguments);

    [StructLayout(LayoutKind.Sequential)]
    private struct TwoPointers
    {
        public DevicePointer First;
        public DevicePointer Second;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct MatrixArguments
    {
        public DevicePointer A;
        public DevicePointer B;
        public DevicePointer D;
        public DevicePointer Transposed;
        public int Kind;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct BlockArguments
    {
        public DevicePointer X;
        public DevicePointer Y;
        public DevicePointer Counter;
        public int Count;
        public float Factor;
    }
}

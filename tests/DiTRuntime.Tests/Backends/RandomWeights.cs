using System.Runtime.InteropServices;
using DiTRuntime.Backends;
using DiTRuntime.Checkpoints;
using DiTRuntime.Quantization;

namespace DiTRuntime.Tests.Backends;

/// <summary>Weights for single layers, in a raw file that is mapped as a checkpoint's would be.</summary>
internal sealed class RandomWeights : IDisposable
{
    private readonly List<MappedFile> _files = [];
    private readonly Random _random;

    public RandomWeights(int seed) => _random = new Random(seed);

    public float[] Values(int count, float scale = 1)
    {
        var values = new float[count];
        for (var i = 0; i < count; i++) values[i] = scale * (2 * _random.NextSingle() - 1);
        return values;
    }

    public CheckpointTensor Tensor(string name, float[] values, params int[] shape) =>
        Bytes(name, ElementType.F32, MemoryMarshal.AsBytes<float>(values).ToArray(), shape);

    private CheckpointTensor Bytes(string name, ElementType type, byte[] bytes, params int[] shape)
    {
        var path = Path.GetTempFileName();
        File.WriteAllBytes(path, bytes);
        var file = MappedFile.Open(path);
        File.Delete(path);
        _files.Add(file);
        return new CheckpointTensor(file, name, type, shape, 0);
    }

    public DenseWeight Linear(int outputs, int inputs, bool bias = true) => new(
        "layer", [Tensor("layer.weight", Values(outputs * inputs), outputs, inputs)], bias ? Values(outputs) : null);

    public ConvolutionWeight Convolution(int outputs, int inputs, int side) => new(
        "conv", Tensor("conv.weight", Values(outputs * inputs * side * side), outputs, inputs, side, side), Values(outputs));

    /// <summary>Random codes, zero points and scales; valid, though no quantizer made them.</summary>
    public GroupWeight Group(int outputs, int inputs, GroupFormat format, ActivationFormat? activations)
    {
        var groups = format.Grid(inputs).Count;
        var codes = new byte[outputs * format.RowBytes(inputs)];
        var row = new ushort[inputs];
        for (var n = 0; n < outputs; n++)
        {
            for (var k = 0; k < inputs; k++) row[k] = (ushort)_random.Next(format.MaxCode + 1);
            BitPacking.Pack(row, format.Bits, codes.AsSpan(n * format.RowBytes(inputs)));
        }

        var zeroCodes = new ushort[outputs * groups];
        for (var i = 0; i < zeroCodes.Length; i++) zeroCodes[i] = (ushort)_random.Next(format.MaxCode + 1);
        var zeros = new byte[format.ZeroBytes(outputs, inputs)];
        BitPacking.Pack(zeroCodes, format.Bits, zeros);
        var scales = Values(outputs * groups).Select(v => (Half)(0.01f + 0.005f * v)).ToArray();
        return new GroupWeight(
            "layer", outputs, inputs, Values(outputs), format,
            Bytes("layer.qweight", ElementType.U8, codes, outputs, format.RowBytes(inputs)),
            Bytes("layer.scale", ElementType.F16, MemoryMarshal.AsBytes<Half>(scales).ToArray(), outputs, groups),
            Bytes("layer.zero", ElementType.U8, zeros, zeros.Length)) { Activations = activations };
    }

    /// <summary>Random codes and codebooks, some of their values subnormal; with W as a plain loop over them has it, before the codebooks' rounding to 8 bits.</summary>
    public (CodebookWeight Weight, float[] Values) Codebook(int outputs, int inputs, CodebookFormat format, ActivationFormat? activations = null)
    {
        var (k, d) = (format.CodebookSize, format.VectorLength);
        var (rowVectors, books) = (inputs / d, format.IsProduct ? inputs / d : format.Parts);
        var codes = new ushort[outputs * rowVectors];
        for (var i = 0; i < codes.Length; i++) codes[i] = (ushort)_random.Next(k);
        var vectors = Values((format.PoolSize == 0 ? books * k : format.PoolSize) * d, 0.1f).Select((v, i) => (Half)(i % 11 == 5 ? v * 1e-4f : v)).ToArray();
        uint[] table = [.. Enumerable.Range(0, format.PoolSize == 0 ? 0 : books * k).Select(_ => (uint)_random.Next(format.PoolSize))];
        Half[]? scales = format.HasRowScales ? [.. Values(outputs).Select(v => (Half)(1.5f + v))] : null;
        var values = new float[outputs * inputs];
        for (var n = 0; n < outputs; n++)
            for (var i = 0; i < inputs; i++)
            {
                var entry = (format.IsProduct ? i / d : n / (outputs / books)) * k + codes[n * rowVectors + i / d];
                var vector = format.PoolSize == 0 ? entry : (int)table[entry];
                values[n * inputs + i] = (float)vectors[vector * d + i % d] * (scales is null ? 1 : (float)scales[n]);
            }

        var packed = CodebookWeight.Pack("layer", outputs, inputs, Values(outputs), format, codes, vectors, table, scales);
        StoredBytes Stored(string suffix, ElementType type, ReadOnlySpan<byte> bytes) => new(bytes.IsEmpty ? null : Bytes("layer" + suffix, type, bytes.ToArray(), bytes.Length / type.ByteSize()));
        return (new CodebookWeight(
            "layer", outputs, inputs, packed.Bias, format, Stored(".codes", ElementType.U8, packed.Codes), Stored(".codebook", ElementType.F16, MemoryMarshal.AsBytes(packed.Vectors)),
            Stored(".table", format.TableType, packed.Table), Stored(".scale", ElementType.F16, MemoryMarshal.AsBytes(packed.RowScales))) { Activations = activations }, values);
    }

    public void Dispose()
    {
        foreach (var file in _files) file.Dispose();
    }
}

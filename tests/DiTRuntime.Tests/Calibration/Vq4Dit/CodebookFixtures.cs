using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Models;
using DiTRuntime.Quantization;
using DiTRuntime.Sampling;

namespace DiTRuntime.Tests.Calibration.Vq4Dit;

/// <summary>Codebooks to start a training from: codewords are vectors of the weight itself, each vector takes the nearest.</summary>
internal static class CodebookFixtures
{
    /// <summary>Codes for a weight.</summary>
    public static CodebookWeight Start(LinearWeight original, CodebookFormat format)
    {
        var (outputs, inputs, d, k) = (original.Outputs, original.Inputs, format.VectorLength, format.CodebookSize);
        var values = new float[outputs * inputs];
        original.CopyRows(0, outputs, values);
        var random = new TorchGenerator(5);
        Half[]? scales = null;
        if (format.HasRowScales)
        {
            scales = [.. Enumerable.Range(0, outputs).Select(row => (Half)(0.5f + row % 3))];
            for (var i = 0; i < values.Length; i++) values[i] /= (float)scales[i / inputs];
        }

        var positions = inputs / d;
        int BookOf(int row, int position) => format.IsProduct ? position : row / (outputs / format.Parts);
        var books = format.BookCount(inputs);
        var entries = new float[books * k * d];
        for (var e = 0; e < books * k; e++)
        {
            int row, position;
            do (row, position) = ((int)random.NextInt((uint)outputs), (int)random.NextInt((uint)positions));
            while (BookOf(row, position) != e / k);
            values.AsSpan(row * inputs + position * d, d).CopyTo(entries.AsSpan(e * d));
        }

        uint[]? table = null;
        var vectors = Array.ConvertAll(entries, value => (Half)value);
        if (format.PoolSize > 0)
        {
            vectors = vectors[..(format.PoolSize * d)];
            table = [.. Enumerable.Range(0, books * k).Select(e => (uint)(e * 7 % format.PoolSize))];
        }

        var codes = new ushort[outputs * positions];
        for (var v = 0; v < codes.Length; v++)
        {
            var (row, position) = (v / positions, v % positions);
            var least = float.PositiveInfinity;
            for (var code = 0; code < k; code++)
            {
                var vector = table is null ? BookOf(row, position) * k + code : (int)table[BookOf(row, position) * k + code];
                float distance = 0;
                for (var i = 0; i < d; i++)
                {
                    var difference = values[row * inputs + position * d + i] - (float)vectors[vector * d + i];
                    distance += difference * difference;
                }

                if (distance < least) (least, codes[v]) = (distance, (ushort)code);
            }
        }

        return CodebookWeight.Pack(original.Name, outputs, inputs, original.Bias, format, codes, vectors, table, scales);
    }

    /// <summary>Puts the codebooks that a training starts from into a folder.</summary>
    public static void Save(DiTWeights weights, PackedModelPlan plan, WorkFolder folder)
    {
        foreach (var layer in weights.Blocks.SelectMany(BlockLayers.Of)) folder.Save(new PackedLayer(Start(layer, (CodebookFormat)plan.FormatOf(layer.Name).Weights!)));
    }

    /// <summary>Settings of a training.</summary>
    public static QuantizeSettings Settings(TrainingScope training, int samples = 12) => new()
    {
        Method = QuantizeMethod.Vq4Dit, MethodName = "vq4dit", GroupSize = 0, Activations = ActivationMode.Float, SampleCount = samples, Seed = 3,
        Codebooks = new CodebookSettings { CodebookSize = 16, VectorLength = 4, Training = training },
    };
}

using System.Globalization;
using DiTRuntime.Calibration.Evaluation;
using DiTRuntime.Checkpoints;
using DiTRuntime.Imaging;
using DiTRuntime.Models;

namespace DiTRuntime.Calibration.Dpq;

/// <summary>The user's samples: latents, or images where the model works on pixels, with the class of each.</summary>
/// <remarks>
/// Either an .npz of samples [n, C, S, S] ("latents", "images", "x" or "arr_0") and labels [n] ("labels", "y" or "arr_1"), or a folder of PNG and .npy files [C, S, S] with a
/// labels.txt of lines "FILE CLASS". Bytes are pixels and become −1 to 1; images may also come as [n, S, S, C]. Floating-point values are taken as they are: latents have been
/// multiplied by the autoencoder's factor, as the model was trained on them.
/// </remarks>
internal sealed class TrainingData
{
    private const string LabelsFile = "labels.txt";

    private static readonly string[] s_sampleNames = ["latents", "images", "x", "arr_0"];
    private static readonly string[] s_labelNames = ["labels", "y", "arr_1"];

    private readonly string _path;
    private readonly DiTConfig _config;
    private readonly float[][] _samples;
    private readonly int[] _labels;

    private TrainingData(string path, DiTConfig config, int count)
    {
        if (count == 0) throw new InvalidFileException(path, "no samples in it");
        (_path, _config, _samples, _labels) = (path, config, new float[count][], new int[count]);
    }

    /// <summary>n.</summary>
    public int Count => _labels.Length;

    /// <summary>A sample x₀ [C, S, S].</summary>
    public ReadOnlySpan<float> Sample(int index) => _samples[index];

    /// <summary>Its class.</summary>
    public int LabelOf(int index) => _labels[index];

    /// <summary>Reads all samples.</summary>
    /// <param name="path">An .npz file or a folder.</param>
    /// <param name="config">The model that is to learn them.</param>
    /// <exception cref="InvalidFileException">Something about them does not fit the model: a shape, a class, a value that is not finite; or there is none.</exception>
    public static TrainingData Load(string path, DiTConfig config) => Directory.Exists(path) ? LoadFolder(path, config) : LoadArchive(path, config);

    private static TrainingData LoadArchive(string path, DiTConfig config)
    {
        using var archive = NpzReader.Open(path);
        string Find(string what, string[] names) => Array.Find(names, archive.Has)
            ?? throw new InvalidFileException(path, $"no array of {what}: {string.Join(", ", names)} were looked for; found {(archive.Names.Count == 0 ? "none" : string.Join(", ", archive.Names.Take(8)))}");
        var (samplesName, labelsName) = (Find("samples", s_sampleNames), Find("labels", s_labelNames));
        double[] labels;
        using (var array = archive.Begin(labelsName))
        {
            if (array.Shape.Length != 1 || array.Count > int.MaxValue) throw new InvalidFileException(path, $"the array {labelsName} is {array.Type} {array.ShapeText}; a class for each sample, [n], was expected");
            labels = array.ReadNumbers();
        }

        var data = new TrainingData(path, config, labels.Length);
        for (var i = 0; i < labels.Length; i++) data._labels[i] = data.Class(labels[i], $"the array {labelsName} holds {labels[i].ToString(CultureInfo.InvariantCulture)} at element {i}");
        using var samples = archive.Begin(samplesName);
        if (samples.Shape.Length == 0 || samples.Shape[0] != data.Count)
            throw new InvalidFileException(path, $"the array {samplesName} is {samples.Type} {samples.ShapeText}; {data.Count} samples were expected, as many as {labelsName} has labels");
        for (var i = 0; i < data.Count; i++) data._samples[i] = data.Read(path, samples, samples.Shape[1..]);
        return data;
    }

    private static TrainingData LoadFolder(string path, DiTConfig config)
    {
        var list = Path.Combine(path, LabelsFile);
        string[] lines;
        try
        {
            lines = File.Exists(list)
                ? [.. File.ReadLines(list).Where(line => !string.IsNullOrWhiteSpace(line))]
                : throw new InvalidFileException(path, $"the folder has no {LabelsFile} with lines 'FILE CLASS'");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InvalidFileException(list, "cannot be read", e);
        }

        var data = new TrainingData(path, config, lines.Length);
        for (var i = 0; i < lines.Length; i++)
        {
            if (lines[i].Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries) is not [var file, var text] || !double.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var label))
                throw new InvalidFileException(list, $"line {i + 1} is '{TensorRules.Printable(lines[i])}'; 'FILE CLASS' was expected");
            if (file.Contains("..", StringComparison.Ordinal) || Path.IsPathRooted(file)) throw new InvalidFileException(list, $"line {i + 1} names {TensorRules.Printable(file)}, which is not in the folder");
            data._labels[i] = data.Class(label, $"{LabelsFile} gives {text} to {TensorRules.Printable(file)}");
            data._samples[i] = data.ReadFile(Path.Combine(path, file));
        }

        return data;
    }

    private float[] ReadFile(string file)
    {
        if (file.EndsWith(".png", StringComparison.OrdinalIgnoreCase))
        {
            var image = PngReader.ReadPixels(file);
            var order = Order(file, "the image", ElementType.U8, [image.Height, image.Width, image.Channels]);
            var values = new float[_config.LatentCount];
            for (var i = 0; i < values.Length; i++) values[order(i)] = Pixel(image.Pixels[i]);
            return values;
        }

        return NpzFailure.Guard(file, () =>
        {
            using var stream = File.OpenRead(file);
            using var array = new NpyArray(file, Path.GetFileNameWithoutExtension(file), stream, stream.Length);
            // Published feature extraction stores batches of one.
            return Read(file, array, array.Shape.Length == 4 && array.Shape[0] == 1 ? array.Shape[1..] : array.Shape);
        });
    }

    /// <summary>Reads the next sample of an array.</summary>
    private float[] Read(string file, NpyArray array, ReadOnlySpan<long> shape)
    {
        var order = Order(file, $"the array {array.Name}", array.Type, shape);
        var values = new float[_config.LatentCount];
        var isPixel = array.Type == ElementType.U8;
        var at = 0;
        array.ReadNumbers(values.Length, (_, value) => values[order(at++)] = isPixel ? Pixel(value) : (float)value);
        return values;
    }

    /// <summary>Where the values of a sample belong, one after the other, in [C, S, S].</summary>
    private Func<int, int> Order(string file, string what, ElementType type, ReadOnlySpan<long> shape)
    {
        var (channels, side) = (_config.InChannels, (long)_config.InputSize);
        if (type == ElementType.U8 && channels is not (1 or 3))
            throw new InvalidFileException(file, $"{what} holds bytes, which are pixels; this model reads latents of {channels} channels, in floating point");
        if (shape.SequenceEqual([channels, side, side]) || (channels == 1 && shape.SequenceEqual([side, side]))) return at => at;
        if (type == ElementType.U8 && shape.SequenceEqual([side, side, channels])) return at => at % channels * (int)(side * side) + at / channels;
        throw new InvalidFileException(file, $"{what} has samples {TensorRules.Text(shape)}; [{channels},{side},{side}] were expected");
    }

    private int Class(double label, string found) => label >= 0 && label < _config.ClassCount && label == Math.Floor(label)
        ? (int)label
        : throw new InvalidFileException(_path, $"{found}; classes are 0 to {_config.ClassCount - 1}");

    private static float Pixel(double value) => (float)(value / 127.5 - 1);
}

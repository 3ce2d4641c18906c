using System.Globalization;
using System.Text;

namespace DiTRuntime.Calibration.Training;

/// <summary>What a training says of itself: a table beside its state, a line at a time.</summary>
/// <param name="path">The file.</param>
/// <param name="columns">What follows "block" (empty where all are trained) and "iteration" in each line.</param>
internal sealed class TrainingLog(string path, string columns)
{
    private readonly List<string> _lines = [$"block,iteration,{columns}"];

    /// <summary>Reads what an earlier run has written, up to where its state stands.</summary>
    /// <param name="block">The block that the state stands in, or null.</param>
    /// <param name="iteration">Its finished iterations.</param>
    public void Resume(int? block, int iteration)
    {
        if (!File.Exists(path)) return;
        _lines.Clear();
        _lines.AddRange(File.ReadLines(path).Where((line, number) => number == 0 || IsBefore(line, block ?? 0, iteration)));
        Write();
    }

    /// <summary>Adds a line.</summary>
    /// <param name="block">The block that is trained, or null where all are.</param>
    /// <param name="iteration">Iterations that are through.</param>
    /// <param name="values">The other columns.</param>
    public void Add(int? block, int iteration, FormattableString values)
    {
        _lines.Add(string.Create(CultureInfo.InvariantCulture, $"{block},{iteration},{values.ToString(CultureInfo.InvariantCulture)}"));
        Write();
    }

    private static bool IsBefore(string line, int block, int iteration)
    {
        var cells = line.Split(',');
        return cells.Length > 1 && int.TryParse(cells[1], CultureInfo.InvariantCulture, out var lineIteration)
            && (int.TryParse(cells[0], CultureInfo.InvariantCulture, out var lineBlock) ? lineBlock : 0) is var at && (at < block || (at == block && lineIteration <= iteration));
    }

    private void Write() => AtomicFile.Write(path, stream => stream.Write(Encoding.UTF8.GetBytes(string.Join('\n', _lines) + "\n")));
}

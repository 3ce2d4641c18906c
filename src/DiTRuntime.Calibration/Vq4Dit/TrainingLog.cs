using System.Globalization;
using System.Text;

namespace DiTRuntime.Calibration.Vq4Dit;

/// <summary>A line of a training's log.</summary>
/// <param name="Block">The block that is trained, or null where all are.</param>
/// <param name="Iteration">Iterations that are through.</param>
/// <param name="Loss">Mean squared error of the blocks' outputs, mean over the iterations since the last line.</param>
/// <param name="RatioLoss">n·mean(r(1 − r)), mean over the layers.</param>
/// <param name="FrozenShare">Share of the vectors whose code is found.</param>
/// <param name="HeldOutError">On samples that are not trained on, where it was measured.</param>
/// <param name="SecondsLeft">Time until the training ends, by the pace so far.</param>
internal sealed record LogLine(int? Block, int Iteration, double Loss, double RatioLoss, double FrozenShare, double? HeldOutError, double SecondsLeft);

/// <summary>What a training says of itself: a file beside its state, a line for every twentieth part of a block or of the model.</summary>
/// <param name="path">The file.</param>
internal sealed class TrainingLog(string path)
{
    private const string Header = "block,iteration,loss,ratio_loss,frozen_share,held_out_error,seconds_left";

    private readonly List<string> _lines = [Header];

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
    public void Add(LogLine line)
    {
        _lines.Add(string.Create(
            CultureInfo.InvariantCulture,
            $"{line.Block},{line.Iteration},{line.Loss:0.000e+00},{line.RatioLoss:0.0000},{line.FrozenShare:0.0000},{line.HeldOutError:0.000e+00},{line.SecondsLeft:0}"));
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

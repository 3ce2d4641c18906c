using System.Globalization;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace DiTRuntime.Cli;

/// <summary>Progress bars on a terminal, with the rate and the time left.</summary>
internal sealed class TerminalProgress : IProgressDisplay
{
    /// <summary>The unit of a stage that counts nothing.</summary>
    private const string Percent = "%";

    private readonly ProgressContext _context;
    private readonly Dictionary<int, string> _units;
    private readonly Dictionary<string, ProgressTask> _tasks = [];

    private TerminalProgress(ProgressContext context, Dictionary<int, string> units)
    {
        _context = context;
        _units = units;
    }

    /// <summary>Does work with bars on a terminal, which are gone afterwards.</summary>
    public static void Run(TextWriter terminal, Action<IProgressDisplay> work)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(terminal), Interactive = InteractionSupport.Yes });
        var units = new Dictionary<int, string>();
        var progress = console.Progress().AutoClear(true).HideCompleted(false)
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new CountColumn(units), new RateColumn(units), new TimeLeftColumn());
        progress.Start(context => work(new TerminalProgress(context, units)));
    }

    /// <inheritdoc/>
    public void Report(string stage, string unit, double done, double total)
    {
        if (!_tasks.TryGetValue(stage, out var task))
        {
            task = _context.AddTask(stage, autoStart: false, maxValue: total);
            lock (_units) _units.Add(task.Id, unit);
            task.StartTask();
            _tasks.Add(stage, task);
        }

        task.Value = done;
    }

    private static string UnitOf(ProgressTask task, Dictionary<int, string> units)
    {
        lock (units) return units.GetValueOrDefault(task.Id, "");
    }

    /// <summary>Units per second since the task began; null before there is something to measure.</summary>
    private static double? RateOf(ProgressTask task) =>
        task.Value > 0 && task.ElapsedTime is { TotalSeconds: > 0 } elapsed ? task.Value / elapsed.TotalSeconds : null;

    private static Text Cell(FormattableString text) => new(text.ToString(CultureInfo.InvariantCulture));

    /// <summary>"12/50 steps".</summary>
    private sealed class CountColumn(Dictionary<int, string> units) : ProgressColumn
    {
        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime) =>
            UnitOf(task, units) is var unit && unit == Percent ? Cell($"{task.Percentage:0} %") : Cell($"{task.Value:0}/{task.MaxValue:0} {unit}");
    }

    /// <summary>"8.31 steps/s".</summary>
    private sealed class RateColumn(Dictionary<int, string> units) : ProgressColumn
    {
        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime) =>
            RateOf(task) is { } rate && UnitOf(task, units) is var unit && unit != Percent ? Cell($"{rate:0.00} {unit}/s") : Text.Empty;
    }

    /// <summary>"0:00:42 left".</summary>
    private sealed class TimeLeftColumn : ProgressColumn
    {
        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime) =>
            RateOf(task) is { } rate && !task.IsFinished
                ? Cell($"{TimeSpan.FromSeconds(Math.Min((task.MaxValue - task.Value) / rate, 359999)):h\\:mm\\:ss} left")
                : Text.Empty;
    }
}

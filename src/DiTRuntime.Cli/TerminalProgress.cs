using System.Globalization;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace DiTRuntime.Cli;

/// <summary>Progress bars on a terminal, with the rate and the time left.</summary>
internal sealed class TerminalProgress : IProgressDisplay
{
    private const string UnitKey = "unit";

    private readonly ProgressContext _context;
    private readonly Dictionary<string, ProgressTask> _tasks = [];

    private TerminalProgress(ProgressContext context) => _context = context;

    /// <summary>Does work with bars on a terminal, which are gone afterwards.</summary>
    public static void Run(TextWriter terminal, Action<IProgressDisplay> work)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(terminal), Interactive = InteractionSupport.Yes });
        var progress = console.Progress().AutoClear(true).HideCompleted(false)
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new CountColumn(), new RateColumn(), new TimeLeftColumn());
        progress.Start(context => work(new TerminalProgress(context)));
    }

    /// <inheritdoc/>
    public void Report(string stage, string unit, double done, double total)
    {
        if (!_tasks.TryGetValue(stage, out var task))
        {
            task = _context.AddTask(stage, maxValue: total);
            task.State.Update<string>(UnitKey, _ => unit);
            _tasks.Add(stage, task);
        }

        task.Value = done;
    }

    private static string UnitOf(ProgressTask task) => task.State.Get<string>(UnitKey);

    /// <summary>Units per second since the task began; null before there is something to measure.</summary>
    private static double? RateOf(ProgressTask task) =>
        task.Value > 0 && task.ElapsedTime is { TotalSeconds: > 0 } elapsed ? task.Value / elapsed.TotalSeconds : null;

    private static Text Cell(FormattableString text) => new(text.ToString(CultureInfo.InvariantCulture));

    /// <summary>"12/50 steps".</summary>
    private sealed class CountColumn : ProgressColumn
    {
        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime) =>
            Cell($"{task.Value:0}/{task.MaxValue:0} {UnitOf(task)}");
    }

    /// <summary>"8.31 steps/s".</summary>
    private sealed class RateColumn : ProgressColumn
    {
        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime) =>
            RateOf(task) is { } rate ? Cell($"{rate:0.00} {UnitOf(task)}/s") : Text.Empty;
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

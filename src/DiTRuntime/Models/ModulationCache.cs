using DiTRuntime.Sampling;

namespace DiTRuntime.Models;

/// <summary>Neighbouring rows of a <see cref="ModulationCache"/>: one class at every timestep of a plan, in the plan's order.</summary>
/// <param name="label">The class, or the null class.</param>
/// <param name="timesteps">The plan's timesteps.</param>
/// <param name="firstRow">Row of the first step.</param>
internal sealed class ModulationRun(int label, int[] timesteps, int firstRow)
{
    /// <summary>Row of the first step.</summary>
    public int FirstRow => firstRow;

    /// <summary>The row after the last.</summary>
    public int EndRow => firstRow + timesteps.Length;

    /// <summary>Images that read it.</summary>
    public int UserCount { get; set; }

    /// <summary>When it was last let go of, on the cache's own clock.</summary>
    public long LastUse { get; set; }

    /// <summary>Whether these rows serve a class under a plan: adaLN depends on nothing but class and timestep, so two samplers may share them.</summary>
    public bool Serves(SamplingPlan plan, int otherLabel)
    {
        var steps = plan.Steps;
        if (otherLabel != label || steps.Length != timesteps.Length) return false;
        for (var i = 0; i < timesteps.Length; i++)
            if (timesteps[i] != steps[i].Timestep) return false;
        return true;
    }
}

/// <summary>The adaLN rows of a rolling batch: one table of fixed size, filled run by run as plans and classes are asked for.</summary>
/// <remarks>Runs that nobody reads stay until their rows are needed; the one longest out of use goes first.</remarks>
internal sealed class ModulationCache : IDisposable
{
    private readonly DiTModel _model;

    /// <summary>By their first rows.</summary>
    private readonly List<ModulationRun> _runs = [];

    private long _clock;

    /// <param name="model">The model.</param>
    /// <param name="byteCount">Memory for the rows; at least one is held.</param>
    public ModulationCache(DiTModel model, long byteCount)
    {
        _model = model;
        // A block's part of the table is one tensor, whose values an int counts.
        var most = int.MaxValue / (6 * model.Config.HiddenSize);
        Table = new ModulationTable(model.Backend, model.Config, (int)Math.Clamp(byteCount / ModulationTable.RowBytes(model.Config), 1, most));
    }

    /// <summary>The rows.</summary>
    public ModulationTable Table { get; }

    /// <summary>Takes a run of rows for each class, computing those that are not there. A run that is taken stays until it is given back.</summary>
    /// <param name="plan">Whose timesteps.</param>
    /// <param name="labels">Classes, or the null class.</param>
    /// <param name="runs">A run for each class, where there is room.</param>
    /// <returns>Whether there was room: false only while others hold rows.</returns>
    /// <exception cref="UsageException">The table is too small, whoever holds it.</exception>
    public bool TryTake(SamplingPlan plan, ReadOnlySpan<int> labels, Span<ModulationRun?> runs)
    {
        if ((long)plan.Steps.Length * labels.Length > Table.RowCount)
            throw new UsageException($"{plan.Steps.Length} steps need {plan.Steps.Length * labels.Length} rows of the modulation table, which has {Table.RowCount}; fewer steps or more memory for the table help");
        if (TryTakeEach(plan, labels, runs)) return true;
        if (_runs.Exists(run => run.UserCount > 0)) return false;
        // Nobody reads any of them: rows that lie in the way of one another go.
        _runs.Clear();
        return TryTakeEach(plan, labels, runs);
    }

    /// <summary>Gives a run back.</summary>
    public void Return(ModulationRun run)
    {
        run.UserCount--;
        run.LastUse = ++_clock;
    }

    /// <inheritdoc/>
    public void Dispose() => Table.Dispose();

    private bool TryTakeEach(SamplingPlan plan, ReadOnlySpan<int> labels, Span<ModulationRun?> runs)
    {
        var taken = 0;
        try
        {
            while (taken < labels.Length && Take(plan, labels[taken]) is { } run) runs[taken++] = run;
            if (taken == labels.Length) return true;
        }
        catch
        {
            ReturnAll(runs[..taken]);
            throw;
        }

        ReturnAll(runs[..taken]);
        return false;
    }

    private void ReturnAll(ReadOnlySpan<ModulationRun?> runs)
    {
        foreach (var run in runs) Return(run!);
    }

    private ModulationRun? Take(SamplingPlan plan, int label)
    {
        var run = _runs.Find(known => known.Serves(plan, label));
        if (run is null)
        {
            if (!TryPlace(plan.Steps.Length, out var firstRow)) return null;
            run = Fill(plan, label, firstRow);
            _runs.Insert(_runs.FindLastIndex(other => other.FirstRow < firstRow) + 1, run);
        }

        run.UserCount++;
        return run;
    }

    private ModulationRun Fill(SamplingPlan plan, int label, int firstRow)
    {
        var timesteps = new int[plan.Steps.Length];
        for (var i = 0; i < timesteps.Length; i++) timesteps[i] = plan.Steps[i].Timestep;
        var labels = new int[timesteps.Length];
        Array.Fill(labels, label);
        _model.Conditioner.Fill(timesteps, labels, Table, firstRow);
        return new ModulationRun(label, timesteps, firstRow);
    }

    /// <summary>Finds rows that follow each other, letting go of unused runs where that helps.</summary>
    private bool TryPlace(int rowCount, out int firstRow)
    {
        firstRow = Gap(rowCount, run => run.UserCount > 0);
        if (firstRow < 0) return false;
        while ((firstRow = Gap(rowCount, _ => true)) < 0) _runs.Remove(_runs.Where(run => run.UserCount == 0).MinBy(run => run.LastUse)!);
        return true;
    }

    /// <summary>The first of so many rows between the runs that count, or −1.</summary>
    private int Gap(int rowCount, Predicate<ModulationRun> counts)
    {
        var start = 0;
        foreach (var run in _runs)
        {
            if (!counts(run)) continue;
            if (run.FirstRow - start >= rowCount) return start;
            start = run.EndRow;
        }

        return Table.RowCount - start >= rowCount ? start : -1;
    }
}

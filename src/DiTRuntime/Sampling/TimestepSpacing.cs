using System.Globalization;

namespace DiTRuntime.Sampling;

/// <summary>Which of the 1000 training timesteps a sampler with fewer steps visits.</summary>
/// <remarks>
/// `leading`: multiples of a whole stride from 0 (the published "ddimN"); `linspace`: evenly from 0 to 999 inclusive (the
/// published "N"); `trailing`: evenly down from 999; "10,15,20": the range cut into equal sections, each with its own
/// number of steps, evenly from the section's first timestep to its last.
/// </remarks>
public sealed class TimestepSpacing
{
    private const int Range = NoiseSchedule.TrainingSteps;
    private readonly Kind _kind;
    private readonly int[] _sections;

    private TimestepSpacing(Kind kind, string name, params int[] sections)
    {
        _kind = kind;
        _sections = sections;
        Name = name;
    }

    private enum Kind
    {
        Leading,
        Linspace,
        Trailing,
        Sections,
    }

    /// <summary>Multiples of a whole stride: 0, 20, …, 980 for 50 steps.</summary>
    public static TimestepSpacing Leading { get; } = new(Kind.Leading, "leading");

    /// <summary>Evenly from 0 to 999, both included.</summary>
    public static TimestepSpacing Linspace { get; } = new(Kind.Linspace, "linspace");

    /// <summary>Evenly down from 999: 19, 39, …, 999 for 50 steps.</summary>
    public static TimestepSpacing Trailing { get; } = new(Kind.Trailing, "trailing");

    /// <summary>The spacing as written on the command line.</summary>
    public string Name { get; }

    /// <summary>The number of steps when the spacing itself fixes it (explicit sections), else null.</summary>
    public int? FixedCount => _kind == Kind.Sections ? _sections.Sum() : null;

    /// <summary>Reads `leading`, `linspace`, `trailing` or a list of section counts.</summary>
    /// <exception cref="UsageException">Another word, or counts that do not fit into their sections.</exception>
    public static TimestepSpacing Parse(string text) => text switch
    {
        "leading" => Leading,
        "linspace" => Linspace,
        "trailing" => Trailing,
        _ => ParseSections(text),
    };

    /// <summary>The training timesteps, ascending.</summary>
    /// <param name="steps">Number of steps, 1 to 1000.</param>
    /// <param name="diffusers">
    /// Whether to round as diffusers does: `leading` takes multiples of 1000/steps rounded down, for any count.
    /// </param>
    /// <exception cref="UsageException">The count is out of range or impossible with this spacing.</exception>
    public int[] Timesteps(int steps, bool diffusers = false)
    {
        if (steps is < 1 or > Range) throw new UsageException($"--steps {steps}: expected 1 to {Range}");
        if (FixedCount is { } fixedCount && steps != fixedCount)
            throw new UsageException($"--steps {steps} contradicts --spacing {Name}, which makes {fixedCount} steps");
        return _kind switch
        {
            Kind.Leading => Multiples(steps, diffusers ? Range / steps : WholeStride(steps)),
            Kind.Linspace => diffusers ? RoundedLinspace(steps) : SectionTimesteps([steps]),
            Kind.Trailing => TrailingTimesteps(steps),
            _ => SectionTimesteps(_sections),
        };
    }

    /// <summary>The schedule restricted to this spacing's timesteps, in the reading of the schedule given.</summary>
    /// <exception cref="UsageException">The count is out of range or impossible with this spacing.</exception>
    public NoiseSchedule Respace(NoiseSchedule schedule, int steps)
    {
        var diffusers = schedule.SinglePrecision;
        var timesteps = Timesteps(steps, diffusers);
        // diffusers knows no sections, so there the published rule is the only one.
        return schedule.Respace(timesteps, diffusers && _kind != Kind.Sections ? Range / steps : null);
    }

    private static TimestepSpacing ParseSections(string text)
    {
        var parts = text.Split(',', StringSplitOptions.TrimEntries);
        var counts = new int[parts.Length];
        for (var i = 0; i < parts.Length; i++)
        {
            if (!int.TryParse(parts[i], NumberStyles.None, CultureInfo.InvariantCulture, out counts[i]))
                throw new UsageException($"--spacing {text}: expected leading, linspace, trailing or section counts such as 10,15,20");
            var size = SectionSize(i, parts.Length);
            if (counts[i] > size)
                throw new UsageException($"--spacing {text}: {counts[i]} steps do not fit into section {i + 1}, which has {size} of the {Range} timesteps");
        }

        if (counts.Sum() == 0) throw new UsageException($"--spacing {text}: no steps at all");
        return new TimestepSpacing(Kind.Sections, string.Join(',', counts), counts);
    }

    // The first sections take the remainder.
    private static int SectionSize(int section, int sectionCount) =>
        Range / sectionCount + (section < Range % sectionCount ? 1 : 0);

    private static int[] SectionTimesteps(int[] counts)
    {
        var timesteps = new List<int>();
        var start = 0;
        for (var section = 0; section < counts.Length; section++)
        {
            var size = SectionSize(section, counts.Length);
            var stride = counts[section] <= 1 ? 1 : (size - 1) / (double)(counts[section] - 1);
            // The stride is accumulated and halves round to even: published samples depend on both.
            var position = 0.0;
            for (var i = 0; i < counts[section]; i++, position += stride)
                timesteps.Add(start + (int)Math.Round(position, MidpointRounding.ToEven));
            start += size;
        }

        return [.. timesteps];
    }

    private static int[] Multiples(int steps, int stride)
    {
        var timesteps = new int[steps];
        for (var i = 0; i < steps; i++) timesteps[i] = i * stride;
        return timesteps;
    }

    private static int WholeStride(int steps)
    {
        for (var stride = 1; stride <= Range; stride++)
        {
            if (StepsOfStride(stride) == steps) return stride;
            if (StepsOfStride(stride) > steps) continue;
            throw new UsageException(
                $"--steps {steps}: no whole stride over {Range} timesteps makes {steps} steps; the nearest counts are " +
                $"{StepsOfStride(stride)} and {StepsOfStride(stride - 1)} (--spacing linspace takes any count)");
        }

        throw new InvalidOperationException("a stride of the whole range makes one step");
    }

    private static int StepsOfStride(int stride) => (Range + stride - 1) / stride;

    private static int[] RoundedLinspace(int steps)
    {
        var timesteps = new int[steps];
        var stride = steps == 1 ? 0 : (Range - 1) / (double)(steps - 1);
        for (var i = 0; i < steps; i++) timesteps[i] = (int)Math.Round(i * stride, MidpointRounding.ToEven);
        return timesteps;
    }

    private static int[] TrailingTimesteps(int steps)
    {
        var timesteps = new int[steps];
        // NumPy's arange derives its increment from the first two values; the halves it meets round accordingly.
        var increment = Range + -Range / (double)steps - Range;
        for (var i = 0; i < steps; i++)
            timesteps[steps - 1 - i] = (int)Math.Round(Range + i * increment, MidpointRounding.ToEven) - 1;
        return timesteps;
    }
}

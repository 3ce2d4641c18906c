using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace DiTRuntime.Exporter.Folder;

/// <summary>
/// C sources as one file. What is included by <c>#include "name"</c> stands where it is included, a guarded header only the first time. A template that is
/// included for several sets of instructions stands once, after everything else, and the file includes itself for it: half the length to read. The
/// public header stays a file of its own, and of <c>#ifdef DIT_CUDA</c> only the branch of the target is left.
/// </summary>
/// <param name="read">The text of a source, or null where there is none of this name.</param>
/// <param name="forCuda">Whether <c>DIT_CUDA</c> is defined.</param>
internal sealed partial class Amalgamator(Func<string, string?> read, bool forCuda)
{
    /// <summary>The header that users include; sources beside it do as well.</summary>
    public const string PublicHeader = "dit.h";

    private const string TargetSymbol = "DIT_CUDA", PartSymbol = "DIT_PART";

    /// <summary>Templates by name, numbered from 1 in the order in which they are first included.</summary>
    private readonly Dictionary<string, int> _templates = [];
    private readonly HashSet<string> _once = [];

    /// <summary>Guarded headers that templates include: they stand before the first template is used, for all of the file.</summary>
    private readonly List<string> _hoisted = [];
    private readonly StringBuilder _text = new();
    private string _output = string.Empty;

    /// <summary>Expands a source.</summary>
    /// <param name="name">Its name, and that of the file that is made.</param>
    /// <exception cref="InvalidOperationException">A source that is included is missing, or includes itself.</exception>
    public string Expand(string name)
    {
        _output = name;
        FindTemplates(name);
        _once.Clear();
        _hoisted.Clear();
        _text.Clear();
        if (_templates.Count == 0)
        {
            Append(name, [], part: 0);
            return _text.ToString();
        }

        // Templates are expanded first, because they say which headers they want, and stand last.
        foreach (var (template, number) in _templates)
        {
            _text.Append(CultureInfo.InvariantCulture, $"\n#elif {PartSymbol} == {number}  // ======== {template} ========\n\n");
            Append(template, [], number);
        }

        var templates = _text.ToString();
        _text.Clear();
        _text.Append(CultureInfo.InvariantCulture, $"""
            // One file, made of several. At its end stand templates, which are compiled once for each set of instructions: the file includes itself for them, and
            // {PartSymbol} says which one is wanted.
            #ifndef {PartSymbol}


            """);
        Append(name, [], part: 0);
        return _text.Append(templates).Append("\n#endif\n").ToString();
    }

    /// <summary>Sources that are included more than once and guard against nothing.</summary>
    private void FindTemplates(string name)
    {
        var counts = new Dictionary<string, int>();
        var order = new List<string>();
        Count(name, []);
        _templates.Clear();
        foreach (var found in order.Where(found => counts[found] > 1 && !IsGuarded(found))) _templates[found] = _templates.Count + 1;

        void Count(string source, IReadOnlyList<string> includedBy)
        {
            if (includedBy.Contains(source) && !IsGuarded(source)) throw new InvalidOperationException($"{source} includes itself: {string.Join(" > ", includedBy)}");
            foreach (var line in Lines(source, includedBy.Count == 0 ? "the runtime" : includedBy[^1]).Where(new TargetBranch(forCuda).Keeps))
            {
                if (IncludedBy(line) is not { } included || included == PublicHeader) continue;
                counts[included] = counts.GetValueOrDefault(included) + 1;
                if (counts[included] > 1) continue;
                order.Add(included);
                Count(included, [.. includedBy, source]);
            }
        }
    }

    /// <summary>Appends a source with all that it includes; <paramref name="part"/> is the template it belongs to, or 0.</summary>
    private void Append(string name, IReadOnlyList<string> includedBy, int part, bool isConditional = false)
    {
        var isGuarded = IsGuarded(name);
        // A header in a branch that is not taken is not there: it comes again, and its guard decides.
        if (isGuarded && (isConditional ? _once.Contains(name) : !_once.Add(name))) return;
        var target = new TargetBranch(forCuda);
        foreach (var line in Lines(name, includedBy.Count == 0 ? "the runtime" : includedBy[^1]).Where(target.Keeps))
        {
            if (IncludedBy(line) is not { } included) _text.Append(line).Append('\n');
            else if (included == PublicHeader) AppendPublicHeader(line);
            else if (_templates.TryGetValue(included, out var number)) AppendTemplate(included, number, part);
            else if (part > 0 && IsGuarded(included)) _hoisted.Add(included);
            else AppendPart(included, [.. includedBy, name], part, isConditional || target.Depth > (isGuarded ? 1 : 0));
        }
    }

    private void AppendPublicHeader(string line)
    {
        if (_once.Add(PublicHeader)) _text.Append(line).Append('\n');
    }

    private void AppendTemplate(string name, int number, int part)
    {
        if (part == 0)
        {
            foreach (var header in _hoisted.Where(header => !_once.Contains(header)).ToArray()) AppendPart(header, [], part, isConditional: false);
        }

        if (part > 0) _text.Append("#undef ").Append(PartSymbol).Append('\n');
        _text.Append(CultureInfo.InvariantCulture, $"#define {PartSymbol} {number}  // {name}\n#include \"{_output}\"\n#undef {PartSymbol}\n");
        if (part > 0) _text.Append(CultureInfo.InvariantCulture, $"#define {PartSymbol} {part}\n");
    }

    private void AppendPart(string name, IReadOnlyList<string> includedBy, int part, bool isConditional)
    {
        var start = _text.Length;
        _text.Append("\n// ======== ").Append(name).Append(" ========\n\n");
        var before = _text.Length;
        Append(name, includedBy, part, isConditional);
        if (_text.Length == before) _text.Length = start;
        else _text.Append('\n');
    }

    private string Read(string name, string wantedBy) => read(name) ?? throw new InvalidOperationException($"{wantedBy}: {name} is missing");

    private bool IsGuarded(string name) => IncludeGuard().IsMatch(Read(name, "the runtime"));

    private string[] Lines(string name, string wantedBy) => Read(name, wantedBy).TrimEnd('\n').Split('\n');

    private static string? IncludedBy(string line) => LocalInclude().Match(line) is { Success: true } match ? match.Groups["name"].Value : null;

    [GeneratedRegex("""^\s*#\s*include\s+"(?<name>[^"]+)"\s*(//.*)?$""")]
    private static partial Regex LocalInclude();

    [GeneratedRegex(@"^\s*#\s*ifndef\s+(?<guard>\w+_H)\s*\n\s*#\s*define\s+\k<guard>\s*$", RegexOptions.Multiline)]
    private static partial Regex IncludeGuard();

    [GeneratedRegex(@"^\s*#\s*(?<word>ifdef|ifndef|if|else|elif|endif)\b\s*(?<symbol>\w*)")]
    private static partial Regex Conditional();

    /// <summary>Follows the conditionals of a file, and leaves one branch of those that ask for the target.</summary>
    private sealed class TargetBranch(bool forCuda)
    {
        private readonly Stack<(bool IsTarget, bool Keeps)> _open = new();

        /// <summary>Conditionals around the line that was asked about last, but for those of the target.</summary>
        public int Depth => _open.Count(branch => !branch.IsTarget);

        /// <summary>Whether a line stays.</summary>
        public bool Keeps(string line)
        {
            var kept = _open.All(branch => branch.Keeps);
            var match = Conditional().Match(line);
            if (!match.Success) return kept;
            switch (match.Groups["word"].Value)
            {
                case "endif":
                    return !(_open.TryPop(out var closed) && closed.IsTarget) && _open.All(branch => branch.Keeps);
                case "else" when _open.TryPeek(out var branch) && branch.IsTarget:
                    _open.Pop();
                    _open.Push((true, !branch.Keeps));
                    return false;
                case "else" or "elif":
                    return kept;
                default:
                    var isTarget = match.Groups["symbol"].Value == TargetSymbol && match.Groups["word"].Value != "if";
                    _open.Push((isTarget, !isTarget || (match.Groups["word"].Value == "ifdef") == forCuda));
                    return kept && !isTarget;
            }
        }
    }
}

using System.Text;
using System.Text.RegularExpressions;

namespace DiTRuntime.Exporter.Folder;

/// <summary>
/// C sources as one file: what is included by <c>#include "name"</c> stands where it is included, a guarded header only the first time. The
/// public header stays a file of its own, and of <c>#ifdef DIT_CUDA</c> only the branch of the target is left.
/// </summary>
/// <param name="read">The text of a source, or null where there is none of this name.</param>
/// <param name="forCuda">Whether <c>DIT_CUDA</c> is defined.</param>
internal sealed partial class Amalgamator(Func<string, string?> read, bool forCuda)
{
    /// <summary>The header that users include; sources beside it do as well.</summary>
    public const string PublicHeader = "dit.h";

    private const string TargetSymbol = "DIT_CUDA";

    private readonly HashSet<string> _once = [];
    private readonly StringBuilder _text = new();

    /// <summary>Expands a source.</summary>
    /// <exception cref="InvalidOperationException">A source that is included is missing, or includes itself.</exception>
    public string Expand(string name)
    {
        _once.Clear();
        _text.Clear();
        Append(name, []);
        return _text.ToString();
    }

    private void Append(string name, IReadOnlyList<string> includedBy)
    {
        if (includedBy.Contains(name)) throw new InvalidOperationException($"{name} includes itself: {string.Join(" > ", includedBy)}");
        var text = read(name) ?? throw new InvalidOperationException($"{(includedBy.Count == 0 ? "the runtime" : includedBy[^1])}: {name} is missing");
        if (IncludeGuard().IsMatch(text) && !_once.Add(name)) return;
        var target = new TargetBranch(forCuda);
        foreach (var line in text.TrimEnd('\n').Split('\n'))
        {
            if (!target.Keeps(line)) continue;
            var include = LocalInclude().Match(line);
            if (!include.Success) _text.Append(line).Append('\n');
            else if (include.Groups["name"].Value == PublicHeader) AppendPublicHeader(line);
            else AppendPart(include.Groups["name"].Value, [.. includedBy, name]);
        }
    }

    private void AppendPublicHeader(string line)
    {
        if (_once.Add(PublicHeader)) _text.Append(line).Append('\n');
    }

    private void AppendPart(string name, IReadOnlyList<string> includedBy)
    {
        var start = _text.Length;
        _text.Append("\n// ======== ").Append(name).Append(" ========\n\n");
        var before = _text.Length;
        Append(name, includedBy);
        if (_text.Length == before) _text.Length = start;
        else _text.Append('\n');
    }

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

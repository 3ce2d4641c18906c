using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Numerics;
using DiTRuntime.Models;

namespace DiTRuntime.Cli;

/// <summary>Makes options whose errors read like the program's other errors.</summary>
internal static class Flags
{
    /// <summary>A flag without a value.</summary>
    public static Option<bool> Switch(string name, string description) => new(name) { Description = description, Arity = ArgumentArity.Zero };

    /// <summary>A text with a default.</summary>
    public static Option<string> Text(string name, string description, string helpName, string fallback) =>
        new(name) { Description = description, HelpName = helpName, DefaultValueFactory = _ => fallback };

    /// <summary>A text that may be absent.</summary>
    public static Option<string?> OptionalText(string name, string description, string helpName, params string[] aliases) =>
        new(name, aliases) { Description = description, HelpName = helpName };

    /// <summary>A whole number with a default.</summary>
    public static Option<int> Whole(string name, string description, int fallback) =>
        new(name) { Description = description, HelpName = "N", DefaultValueFactory = _ => fallback, CustomParser = Parse<int> };

    /// <summary>A whole number that may be absent.</summary>
    public static Option<int?> OptionalWhole(string name, string description) =>
        new(name) { Description = description, HelpName = "N", CustomParser = result => Parse<int>(result) };

    /// <summary>A large whole number with a default.</summary>
    public static Option<long> Long(string name, string description, long fallback) =>
        new(name) { Description = description, HelpName = "N", DefaultValueFactory = _ => fallback, CustomParser = Parse<long> };

    /// <summary>A number with a default.</summary>
    public static Option<double> Number(string name, string description, double fallback) =>
        new(name) { Description = description, HelpName = "X", DefaultValueFactory = _ => fallback, CustomParser = Parse<double> };

    /// <summary>A number that may be absent.</summary>
    public static Option<double?> OptionalNumber(string name, string description) =>
        new(name) { Description = description, HelpName = "X", CustomParser = result => Parse<double>(result) };

    /// <summary>One of several words; the first is the default.</summary>
    public static Option<string> Choice(string name, string description, params string[] words)
    {
        var option = new Option<string>(name) { Description = description, HelpName = string.Join('|', words), DefaultValueFactory = _ => words[0] };
        option.Validators.Add(result =>
        {
            if (result.Tokens.Count > 0 && !words.Contains(result.Tokens[^1].Value))
                result.AddError($"{name} {result.Tokens[^1].Value}: expected {string.Join(", ", words[..^1])} or {words[^1]}");
        });
        return option;
    }

    /// <summary>Reads --compat.</summary>
    public static Compatibility Compatibility(ParseResult parse, Option<string> option) =>
        parse.GetRequiredValue(option) == "diffusers" ? Models.Compatibility.Diffusers : Models.Compatibility.Official;

    /// <summary>A seed that is not drawn.</summary>
    /// <exception cref="UsageException">It is negative.</exception>
    public static ulong Seed(long value) => value >= 0 ? (ulong)value : throw new UsageException($"--seed {value}: expected 0 or more");

    private static T Parse<T>(ArgumentResult result)
        where T : struct, INumber<T>
    {
        var text = result.Tokens.Count > 0 ? result.Tokens[^1].Value : string.Empty;
        var style = typeof(T) == typeof(double) ? NumberStyles.Float : NumberStyles.AllowLeadingSign;
        if (T.TryParse(text, style, CultureInfo.InvariantCulture, out var value) && T.IsFinite(value)) return value;
        var name = (result.Parent as OptionResult)?.Option.Name ?? result.Argument.Name;
        result.AddError($"{name} {text}: expected {(typeof(T) == typeof(double) ? "a number" : "a whole number")}");
        return default;
    }
}

namespace DiTRuntime.Cli;

/// <summary>Where a command writes: data to standard output, everything else to standard error.</summary>
/// <param name="Out">Receives data and nothing but data.</param>
/// <param name="Error">Receives errors, notes and progress.</param>
/// <param name="ErrorIsTerminal">Whether a person watches standard error; progress is shown only then.</param>
internal sealed record CliConsole(TextWriter Out, TextWriter Error, bool ErrorIsTerminal)
{
    /// <summary>Text as one line without control characters: names in hostile files cannot forge lines or move the cursor.</summary>
    public static string OneLine(string text) =>
        string.Create(text.Length, text, static (line, source) =>
        {
            for (var i = 0; i < line.Length; i++) line[i] = char.IsControl(source[i]) || source[i] is '\u2028' or '\u2029' ? ' ' : source[i];
        });
}

namespace DiTRuntime.Calibration.Reporting;

/// <summary>The look of a report. Colours are variables, so that charts follow light and dark.</summary>
internal static class ReportStyle
{
    /// <summary>Colours of series; further ones begin again.</summary>
    public const int ColourCount = 8;

    /// <summary>The style sheet. The colours of series are those of Okabe and Ito, told apart without red or green.</summary>
    public const string Css = """
        :root { color-scheme: light dark; --page: #fbfaf8; --card: #ffffff; --text: #1d1d1f; --faint: #6b6b70; --line: #e4e2dd; --grid: #eceae6;
          --s0: #0072b2; --s1: #d55e00; --s2: #009e73; --s3: #b0579a; --s4: #b88a00; --s5: #3f8fc4; --s6: #555555; --s7: #8a5a2b; }
        @media (prefers-color-scheme: dark) {
          :root { --page: #16171a; --card: #1f2024; --text: #ececf0; --faint: #9c9ca6; --line: #33343a; --grid: #2b2c31;
            --s0: #56b4e9; --s1: #ff8a3d; --s2: #2cc79a; --s3: #dd8fc6; --s4: #f0c63c; --s5: #8fb8ff; --s6: #b5b5bd; --s7: #cf9d6b; } }
        * { box-sizing: border-box; }
        body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
        main { max-width: 1000px; margin: 0 auto; padding: 48px 24px 80px; }
        h1 { font-size: 30px; line-height: 1.2; letter-spacing: -0.02em; margin: 0 0 8px; font-weight: 650; }
        h2 { font-size: 18px; margin: 0 0 4px; font-weight: 650; letter-spacing: -0.01em; }
        p { margin: 0 0 16px; color: var(--faint); max-width: 70ch; }
        p.lead { font-size: 17px; margin-bottom: 20px; }
        dl { display: flex; flex-wrap: wrap; gap: 8px 32px; margin: 0 0 8px; }
        dt { font-size: 12px; color: var(--faint); }
        dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
        section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 24px; margin-top: 24px; }
        svg { display: block; width: 100%; height: auto; font-size: 12px; }
        svg text { fill: var(--text); }
        svg .tick, svg .axis { fill: var(--faint); }
        svg .grid { stroke: var(--grid); stroke-width: 1; }
        svg .base { stroke: var(--line); stroke-width: 1; }
        svg .halo { paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; }
        .legend { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 0 0 8px; padding: 0; list-style: none; font-size: 13px; }
        .legend span { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
        .scroll { overflow-x: auto; }
        table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
        th, td { padding: 7px 12px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
        thead th { color: var(--faint); font-weight: 500; font-size: 12.5px; }
        th:first-child { text-align: left; padding-left: 0; }
        tbody th { font-weight: 550; }
        tbody tr:last-child > * { border-bottom: 0; }
        .sheets { display: grid; grid-template-columns: repeat(auto-fill, minmax(270px, 1fr)); gap: 20px; }
        figure { margin: 0; }
        img { display: block; image-rendering: pixelated; border-radius: 6px; width: 100%; }
        figcaption { margin-top: 6px; font-size: 13px; color: var(--faint); }

        """;
}

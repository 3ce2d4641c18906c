namespace DiTRuntime.Tests.Exporter.EndToEnd;

/// <summary>A model to be exported, and how it is sampled.</summary>
/// <param name="Name">Its name in tests and of its folder.</param>
internal sealed record ExportCase(string Name)
{
    /// <summary>The model's file or folder; null for the built-in digits.</summary>
    public string? Model { get; init; }

    /// <summary>A published configuration that gets random weights, in place of a file.</summary>
    public string? Configuration { get; init; }

    /// <summary>What <c>dit quantize</c> makes of it first; null for the model as it is.</summary>
    public string[]? Quantize { get; init; }

    /// <summary>Stands for a decoder of TAESD's layout with random weights, which is written when it is first needed.</summary>
    public const string RandomTaesd = "random-taesd";

    /// <summary>What <c>dit generate</c> and <c>dit export</c> are told about it: the decoder, heads, the reading.</summary>
    public string[] Reading { get; init; } = [];

    /// <summary>Steps, sampler, spacing and scale, spelt alike in C# and in C.</summary>
    public string[] Sampling { get; init; } = ["--steps", "2", "--cfg-scale", "2"];

    /// <summary>What only generating knows.</summary>
    public string[] Drawing { get; init; } = [];

    /// <inheritdoc/>
    public override string ToString() => Name;

    private static string Tiny => TestFiles.Golden("tiny/official.safetensors");

    /// <summary>Formats of the built-in digits.</summary>
    public static ExportCase[] Digits { get; } =
    [
        new("digits-f16"),
        new("digits-w8a8-g96") { Quantize = ["--method", "rtn", "--wbits", "8", "--group-size", "96"] },
        new("digits-w4a8-g96") { Quantize = ["--method", "rtn", "--wbits", "4", "--group-size", "96"] },
        new("digits-k256-d4") { Quantize = ["--method", "kmeans", "--k", "256", "--d", "4"] },
    ];

    /// <summary>The large decoder, and DDPM.</summary>
    public static ExportCase LargeDecoder { get; } = new("tiny-f32-kl")
    {
        Model = Tiny,
        Reading = ["--vae", TestFiles.Golden("vae"), "--heads", "2"],
        Sampling = ["--steps", "2", "--cfg-scale", "3", "--sampler", "ddpm"],
    };

    /// <summary>Every format once, on a model and a decoder that take no time.</summary>
    public static ExportCase[] Small { get; } =
    [
        TinyIn("k256-d4-a8", "--method", "kmeans", "--k", "256", "--d", "4", "--abits", "8", "--group-size", "32"),
        TinyIn("k16-d2-rows", "--method", "kmeans", "--k", "16", "--d", "2", "--row-scales", "on"),
        TinyIn("pq-k64-d4", "--method", "kmeans", "--k", "64", "--d", "4", "--layout", "product", "--row-scales", "on"),
        TinyIn("w8a8-g32-static", "--method", "rtn", "--wbits", "8", "--group-size", "32", "--activations", "static", "--samples", "3"),
        TinyIn("w6a16-row", "--method", "rtn", "--wbits", "6", "--group-size", "row", "--abits", "16"),
        TinyIn("w5a8-g48", "--method", "rtn", "--wbits", "5", "--group-size", "48", "--pack-all"),
        TinyIn("w4a8-g32", "--method", "rtn", "--wbits", "4", "--group-size", "32"),
        TinyIn("w3a8-g64", "--method", "rtn", "--wbits", "3", "--group-size", "64"),
        TinyIn("w2a16-g32", "--method", "rtn", "--wbits", "2", "--group-size", "32", "--abits", "16"),
        new("tiny-f32-diffusers")
        {
            Model = TestFiles.Golden("tiny/diffusers"),
            Reading = ["--vae", RandomTaesd, "--compat", "diffusers"],
            Sampling = ["--steps", "3", "--cfg-scale", "4", "--spacing", "trailing"],
            Drawing = ["--eta", "0.7"],
        },
    ];

    /// <summary>All.</summary>
    public static IEnumerable<ExportCase> All => [.. Digits, LargeDecoder, .. Small];

    private static ExportCase TinyIn(string format, params string[] quantize) => new("tiny-" + format)
    {
        Model = Tiny,
        Quantize = ["--heads", "2", .. quantize],
        Reading = ["--vae", RandomTaesd],
        Sampling = ["--steps", "2", "--cfg-scale", "3"],
    };
}

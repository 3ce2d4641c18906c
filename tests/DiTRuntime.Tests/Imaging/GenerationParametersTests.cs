using DiTRuntime.Imaging;

namespace DiTRuntime.Tests.Imaging;

internal sealed class GenerationParametersTests
{
    private static readonly GenerationParameters s_plain = new()
    {
        Class = 207,
        Steps = 50,
        Sampler = "ddim",
        CfgScale = 4,
        Seed = ulong.MaxValue,
        Width = 256,
        Height = 128,
        Model = "DiT-XL/2",
        Version = "0.1.0",
    };

    [Test]
    public void Text_reads_as_people_know_it() =>
        Assert.That((s_plain with { ModelHash = "0a1b", Quant = "f32", Seed = 0 }).Format(), Is.EqualTo(
            "Class: 207, Steps: 50, Sampler: ddim, CFG scale: 4, Seed: 0, Size: 256x128, Model: DiT-XL/2, Model hash: 0a1b, Quant: f32, Version: 0.1.0"));

    [Test]
    public void Absent_fields_stay_absent() =>
        Assert.That(GenerationParameters.TryParse(s_plain.Format()), Is.EqualTo(s_plain));

    [Test]
    public void All_fields_come_back()
    {
        var full = s_plain with { Spacing = "10,15,20", Eta = 0.1, CfgScale = 1.5e-7, ModelHash = "ab", Quant = "w4a8", Compat = "diffusers", Noise = "batch", Latents = "0f", GuidedChannels = 4, VaeHash = "1e", Backend = "cuda" };
        Assert.That(GenerationParameters.TryParse(full.Format()), Is.EqualTo(full));
    }

    [TestCase("a, b")]
    [TestCase("Steps: 3, Seed: 9")]
    [TestCase("quote \" and \\ back")]
    [TestCase("C:\\models\\dit")]
    [TestCase("line\nbreak\t\u0001")]
    [TestCase(" spaced ")]
    [TestCase("")]
    [TestCase("模型, é")]
    [TestCase("trailing,")]
    public void Any_model_name_comes_back(string model) =>
        Assert.That(GenerationParameters.TryParse((s_plain with { Model = model }).Format())?.Model, Is.EqualTo(model));

    [Test]
    public void Unknown_fields_are_skipped() =>
        Assert.That(GenerationParameters.TryParse(s_plain.Format() + ", Mood: \"good, today\""), Is.EqualTo(s_plain));

    [TestCase("")]
    [TestCase("a cat, by Rembrandt")]
    [TestCase("Class: 1")]
    [TestCase("Class: \"1")]
    [TestCase("Class: \"1\\u00")]
    [TestCase("Class: \"1\\")]
    [TestCase("Class: \"1\"x, Steps: 5")]
    [TestCase(": ")]
    public void Other_texts_are_not_taken_for_parameters(string text) =>
        Assert.That(GenerationParameters.TryParse(text), Is.Null);

    [TestCase("Class: 207", "Class: -1")]
    [TestCase("Size: 256x128", "Size: 256")]
    [TestCase("Size: 256x128", "Size: 256x")]
    [TestCase("Seed: 18446744073709551615", "Seed: 18446744073709551616")]
    [TestCase("CFG scale: 4", "CFG scale: four")]
    [TestCase("Version: 0.1.0", "Version: 0.1.0, Eta: x")]
    [TestCase(", Version: 0.1.0", "")]
    public void Fields_that_do_not_read_make_the_text_invalid(string from, string to)
    {
        var text = s_plain.Format();
        Assert.That(text, Does.Contain(from));
        Assert.That(GenerationParameters.TryParse(text.Replace(from, to)), Is.Null);
    }
}

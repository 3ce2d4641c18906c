using System.Text.Json;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Cli;

public sealed class ForwardTests
{
    private static readonly string[] s_layouts =
        ["tiny/official.pt", "tiny/train.pt", "tiny/official.safetensors", "tiny/diffusers", "tiny/diffusers/transformer/diffusion_pytorch_model.safetensors"];

    private static readonly GoldenTensors s_golden = GoldenTensors.Load(TestFiles.Golden("tiny/expected.safetensors"));

    private TemporaryFolder _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    [TestCaseSource(nameof(s_layouts))]
    public void A_raw_pass_agrees_with_the_published_code(string layout) =>
        Assert.That(Relative.Error(Forward(layout, "official", RawInputs()), s_golden.F32("forward.out")), Is.LessThan(1e-5));

    [TestCaseSource(nameof(s_layouts))]
    public void A_raw_pass_agrees_with_diffusers(string layout) =>
        Assert.That(Relative.Error(Forward(layout, "diffusers", RawInputs()), s_golden.F32("diffusers.forward.out")), Is.LessThan(1e-5));

    [TestCaseSource(nameof(s_layouts))]
    public void A_guided_pass_agrees_with_the_published_code(string layout) =>
        Assert.That(Relative.Error(Forward(layout, "official", GuidedInputs()), s_golden.F32("cfg.out")), Is.LessThan(1e-5));

    [TestCaseSource(nameof(s_layouts))]
    public void A_guided_pass_agrees_with_diffusers(string layout)
    {
        var output = Forward(layout, "diffusers", GuidedInputs());
        const int noise = 4 * 8 * 8;
        float[] predictedNoise = [.. output.AsSpan(0, noise), .. output.AsSpan(2 * noise, noise)];
        Assert.That(Relative.Error(predictedNoise, s_golden.F32("diffusers.cfg.eps")), Is.LessThan(1e-5));
    }

    [Test]
    public void The_answer_is_told()
    {
        RawInputs().Save(_folder["in.safetensors"]);
        var result = CliRunner.Run(Arguments("tiny/official.pt", "official", "--json")).Succeeded();
        var shape = JsonDocument.Parse(result.Out).RootElement.GetProperty("shape").EnumerateArray().Select(e => e.GetInt32());
        Assert.That(shape, Is.EqualTo(new[] { 4, 8, 8, 8 }));
    }

    [TestCase("t", 1000L, "0 to 999")]
    [TestCase("t", -1L, "0 to 999")]
    [TestCase("y", 11L, "0 to 10")]
    public void Indices_out_of_range_are_refused(string tensor, long value, string expected) =>
        Refuses(RawInputs().Remove(tensor).Add(tensor, [1], value), $"tensor {tensor} holds {value}", expected);

    [Test]
    public void A_timestep_between_two_is_refused() => Refuses(RawInputs().Remove("t").Add("t", [1], 10.5f), "tensor t holds 10.5");

    [Test]
    public void A_missing_input_is_named() => Refuses(RawInputs().Remove("y"), "no tensor y", "t, x");

    [Test]
    public void An_input_of_another_shape_is_named_with_both_shapes() => Refuses(RawInputs().Remove("x").Add("x", [1, 3, 8, 8], new float[192]), "[1,3,8,8]", "[n,4,8,8]");

    [Test]
    public void Inputs_that_are_no_numbers_are_refused() => Refuses(RawInputs().Poke("x", float.NaN), "tensor x", "not finite");

    private static RawSafetensors RawInputs() => RawSafetensors.Empty()
        .Add("t", s_golden.Shape("forward.t"), s_golden.I64("forward.t"))
        .Add("x", s_golden.Shape("forward.x"), s_golden.F32("forward.x"))
        .Add("y", s_golden.Shape("forward.y"), s_golden.I64("forward.y"));

    private static RawSafetensors GuidedInputs() => RawSafetensors.Empty()
        .Add("x", s_golden.Shape("cfg.z"), s_golden.F32("cfg.z"))
        .Add("t", s_golden.Shape("cfg.t"), s_golden.I64("cfg.t"))
        .Add("y", s_golden.Shape("cfg.labels"), s_golden.I64("cfg.labels"))
        .Add("cfg_scale", s_golden.Shape("cfg.scale"), s_golden.F32("cfg.scale"));

    private string[] Arguments(string layout, string compat, params string[] more) =>
        ["forward", "--model", TestFiles.Golden(layout), "--heads", "2", "--compat", compat, "--inputs", _folder["in.safetensors"], "-o", _folder["out.safetensors"], .. more];

    private float[] Forward(string layout, string compat, RawSafetensors inputs)
    {
        inputs.Save(_folder["in.safetensors"]);
        CliRunner.Run(Arguments(layout, compat)).Succeeded();
        return GoldenTensors.Load(_folder["out.safetensors"]).F32("out");
    }

    private void Refuses(RawSafetensors inputs, params string[] words)
    {
        inputs.Save(_folder["in.safetensors"]);
        CliRunner.Run(Arguments("tiny/official.pt", "official")).Failed(ExitCode.InvalidFile, ["in.safetensors", .. words]);
        Assert.That(File.Exists(_folder["out.safetensors"]), Is.False);
    }
}

using System.IO.Compression;
using System.Text.Json;
using DiTRuntime.Imaging;
using DiTRuntime.Tests.Calibration.Evaluation;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Cli;

public sealed class EvalTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public void Two_files_of_statistics_need_no_features()
    {
        var first = Statistics("a.npz", [0, 0], [1, 0, 0, 4]);
        var second = Statistics("b.npz", [3, 0], [4, 0, 0, 4]);
        var json = Eval(first, second);
        Assert.That(json.GetProperty("fid").GetDouble(), Is.EqualTo(10).Within(1e-12));
        Assert.That(json.GetProperty("sfid").ValueKind, Is.EqualTo(JsonValueKind.Null));
        Assert.That(CliRunner.Run("eval", first, second).Succeeded().OutLines, Is.EqualTo(new[] { "FID: 10" }));
    }

    [Test]
    public void Images_in_an_npz_and_in_a_folder_are_the_same_images()
    {
        var images = Enumerable.Range(0, 12).Select(i => TestImages.Make(32, 32, 3, seed: i)).ToArray();
        using (var stream = File.Create(_folder["images.npz"]))
        {
            using var writer = new NpzWriter(stream, images.Length, 32, 32);
            foreach (var image in images) writer.Add(image);
            writer.Complete();
        }

        Directory.CreateDirectory(_folder["images"]);
        for (var i = 0; i < images.Length; i++) ImageCodecs.Save(_folder[$"images/{i:00}.png"], images[i]);
        var json = Eval(_folder["images.npz"], _folder["images"], "--features", "judge");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(json.GetProperty("fid").GetDouble(), Is.EqualTo(0).Within(1e-4));
            Assert.That(json.GetProperty("precision").GetDouble(), Is.EqualTo(1));
            Assert.That(json.GetProperty("recall").GetDouble(), Is.EqualTo(1));
            Assert.That(json.GetProperty("inception_score").GetDouble(), Is.InRange(1, 10));
        }
    }

    [Test]
    public void Digits_alone_are_compared_with_real_ones()
    {
        CliRunner.Run("generate", "--count", "10", "--class-labels", "0,1,2,3,4,5,6,7,8,9", "--steps", "4", "--out", Path.Combine(_folder.Path, "d{index}.png")).Succeeded();
        var digits = Eval(_folder.Path).GetProperty("fid").GetDouble();
        Directory.CreateDirectory(_folder["noise"]);
        for (var i = 0; i < 10; i++) ImageCodecs.Save(_folder[$"noise/{i}.png"], TestImages.Make(32, 32, 1, seed: i));
        Assert.That(digits, Is.GreaterThan(0).And.LessThan(Eval(_folder["noise"]).GetProperty("fid").GetDouble()));
    }

    [Test]
    public void Digit_models_make_a_table_of_markdown()
    {
        var lines = CliRunner.Run("eval", "--digits", TestFiles.DigitModel, TestFiles.DigitModel, "--samples", "10", "--steps", "2", "--report", _folder["report"]).Succeeded().OutLines;
        Assert.That(lines, Has.Length.EqualTo(4));
        Assert.That(lines, Is.All.Match(@"^\|.*\|$"));
        Assert.That(lines[3], Does.Contain("| 200.0 | 0.0e+0 |"));
        Assert.That(File.ReadAllText(Path.Combine(_folder["report"], "report.html")), Does.Contain("data:image/png;base64,").And.Not.Contain("http"));
    }

    [Test]
    public void Digit_models_tell_json()
    {
        var json = Eval("--digits", TestFiles.DigitModel, "--samples", "2", "--steps", "1");
        var model = json.GetProperty("models")[0];
        Assert.That(model.GetProperty("bytes").GetInt64(), Is.GreaterThan(18_000_000));
        Assert.That(model.GetProperty("agreement").GetDouble(), Is.InRange(0, 1));
    }

    [Test]
    public void A_model_that_draws_no_digits_is_refused() =>
        CliRunner.Run("eval", "--digits", TestFiles.Golden("tiny/diffusers")).Failed(ExitCode.Usage, "4x8x8");

    [Test]
    public void Statistics_of_other_features_are_refused() =>
        CliRunner.Run("eval", Statistics("a.npz", [0], [1]), Statistics("b.npz", [0, 0], [1, 0, 0, 1])).Failed(ExitCode.Usage, "1 and of 2 features");

    [Test]
    public void A_covariance_of_another_size_is_refused() =>
        CliRunner.Run("eval", Statistics("a.npz", [0, 0], [1]), Statistics("b.npz", [0, 0], [1])).Failed(ExitCode.InvalidFile, "b.npz", "array sigma", "[2,2]");

    [Test]
    public void Images_of_another_size_are_refused()
    {
        ImageCodecs.Save(_folder["a.png"], TestImages.Make(16, 16, 1));
        CliRunner.Run("eval", _folder.Path).Failed(ExitCode.Usage, "32x32", "16x16");
    }

    [Test]
    public void A_file_without_anything_to_compare_is_refused()
    {
        NpzFiles.Save(_folder["a.npz"], CompressionLevel.Optimal, ("x", NpzFiles.Npy("<f8", "(1,)", new byte[8])));
        CliRunner.Run("eval", _folder["a.npz"]).Failed(ExitCode.InvalidFile, "a.npz", "arr_0", "found x");
    }

    [TestCase("--inception FILE", "a", "b", "--features", "inception")]
    [TestCase("--inception", "a", "b", "--features", "judge", "--inception", "w.pt")]
    [TestCase("3 sets", "a", "b", "c")]
    [TestCase("--report", "a", "b", "--report", "r")]
    [TestCase("give REF and SAMPLES", "a", "--inception", "w.pt")]
    [TestCase("--seed -1", "--digits", "a", "--seed", "-1")]
    public void Flags_that_do_not_fit_are_refused(string found, params string[] arguments) =>
        CliRunner.Run(["eval", .. arguments]).Failed(ExitCode.Usage, found);

    [Test]
    public void Weights_that_are_not_those_of_the_network_are_refused() =>
        CliRunner.Run("eval", _folder.Path, _folder.Path, "--inception", TestFiles.DigitModel).Failed(ExitCode.InvalidFile, "no PNG");

    private static JsonElement Eval(params string[] arguments) => JsonDocument.Parse(CliRunner.Run(["eval", .. arguments, "--json"]).Succeeded().Out).RootElement;

    private string Statistics(string name, double[] mean, double[] covariance) => NpzFiles.Save(
        _folder[name],
        CompressionLevel.Optimal,
        ("mu", NpzFiles.Npy("<f8", $"({mean.Length},)", NpzFiles.Bytes(mean))),
        ("sigma", NpzFiles.Npy("<f8", $"({Math.Sqrt(covariance.Length)}, {Math.Sqrt(covariance.Length)})", NpzFiles.Bytes(covariance))));
}

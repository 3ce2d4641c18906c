using System.Text.Json;
using DiTRuntime.Tests.Imaging;

namespace DiTRuntime.Tests.Cli;

public sealed class QuantizeTests
{
    private static readonly string[] s_tiny = ["quantize", "--model", TestFiles.Golden("tiny/official.safetensors"), "--heads", "2"];

    private static readonly string[] s_small = [.. s_tiny, "--group-size", "32"];

    [TestCase("rtn")]
    [TestCase("gptq")]
    [TestCase("qdit")]
    public void A_model_becomes_a_packed_file_that_runs(string method)
    {
        using var folder = new TemporaryFolder();

        var json = JsonDocument.Parse(CliRunner.Run([.. s_small, "--method", method, "--samples", "3", "--json", "-o", folder["q.safetensors"]]).Succeeded().Out).RootElement;

        Assert.That(json.GetProperty("bytes").GetInt64(), Is.EqualTo(new FileInfo(folder["q.safetensors"]).Length));
        Assert.That(json.GetProperty("method").GetProperty("method").GetString(), Is.EqualTo(method));
        Assert.That(json.GetProperty("layers").GetArrayLength(), Is.EqualTo(10));
        Assert.That(json.GetProperty("layers")[1].GetProperty("format").GetString(), Is.EqualTo("w4a8 g32"));
        Assert.That(json.GetProperty("layers")[1].GetProperty("output_error").ValueKind, Is.EqualTo(method == "rtn" ? JsonValueKind.Null : JsonValueKind.Number));
        CliRunner.Run("generate", "--model", folder["q.safetensors"], "--class-labels", "1", "--steps", "2", "--latents-only", "--out", folder["l.safetensors"]).Succeeded();
    }

    [TestCase("kmeans", "--wbits", "3", "w3a16 k64 d2")]
    [TestCase("kmeans", "--k", "64", "--d", "4", "--layout", "product", "--row-scales", "on", "w1a16 pq k16 d4")]
    [TestCase("gptvq", "--k", "16", "--d", "2", "--row-scales", "on", "w2a16 k16 d2")]
    [TestCase("kmeans", "--k", "16", "--d", "4", "--pack-all", "w1a16 k16 d4")]
    public void Codebooks_become_a_packed_file_that_runs(string method, params string[] rest)
    {
        using var folder = new TemporaryFolder();

        var json = JsonDocument.Parse(CliRunner.Run([.. s_tiny, "--method", method, .. rest[..^1], "--samples", "3", "--json", "-o", folder["q.safetensors"]]).Succeeded().Out).RootElement;

        var again = CliRunner.Run([.. s_tiny, "--method", method, .. rest[..^1], "--samples", "3", "--threads", "1", "-o", folder["again.safetensors"]]).Succeeded();
        Assert.That(json.GetProperty("layers").EnumerateArray().Select(layer => layer.GetProperty("format").GetString()), Does.Contain(rest[^1]));
        Assert.That(json.GetProperty("method").GetProperty("row_scales").GetBoolean(), Is.EqualTo(rest.Contains("--row-scales")));
        Assert.That(File.ReadAllBytes(folder["again.safetensors"]), Is.EqualTo(File.ReadAllBytes(folder["q.safetensors"])), "one thread as all");
        Assert.That(again.Out, Does.Contain(rest[^1]));
        CliRunner.Run("generate", "--model", folder["q.safetensors"], "--class-labels", "1", "--steps", "2", "--latents-only", "--backend", "cpu", "--out", folder["l.safetensors"]).Succeeded();
    }

    [Test]
    public void Flags_of_codebooks_without_a_method_mean_gptvq()
    {
        using var folder = new TemporaryFolder();

        var json = JsonDocument.Parse(CliRunner.Run([.. s_tiny, "--k", "16", "--d", "4", "--samples", "3", "--json", "-o", folder["q.safetensors"]]).Succeeded().Out).RootElement;

        Assert.That(json.GetProperty("method").GetProperty("method").GetString(), Is.EqualTo("gptvq"));
    }

    [TestCase("gptvq", "--group-size", "32", "w1a8 k16 d4")]
    [TestCase("kmeans", "--activations", "static", "w1a8 k16 d4 static")]
    public void Codebooks_take_quantized_activations_too(string method, string flag, string value, string expected)
    {
        using var folder = new TemporaryFolder();

        var run = CliRunner.Run([.. s_tiny, "--method", method, "--k", "16", "--d", "4", "--abits", "8", flag, value, "--samples", "3", "-o", folder["q.safetensors"]]).Succeeded();

        Assert.That(run.Out, Does.Contain(expected).And.Contain("w1a16 k16 d4"), "adaLN stays in floating point");
        Assert.That(CliRunner.Run("inspect", folder["q.safetensors"]).Succeeded().Out, Does.Contain(expected));
    }

    [Test]
    public void The_table_names_every_layer_and_the_sums()
    {
        using var folder = new TemporaryFolder();

        var run = CliRunner.Run([.. s_small, "--abits", "16", "--wbits", "3", "--range", "mse", "--pack-all", "--backend", "cpu", "-o", folder["q.safetensors"]]).Succeeded();

        Assert.That(run.OutLines, Has.Length.EqualTo(18));
        Assert.That(run.Out, Does.Contain("blocks.1.mlp.fc2").And.Contain("w3a16 g32").And.Contain("w8a16 g32").And.Contain("times smaller than fp16"));
        Assert.That(run.Error, Is.Empty);
    }

    [Test]
    public void Group_sizes_come_from_a_file_and_a_search_writes_one()
    {
        using var folder = new TemporaryFolder();
        string[] search = [.. s_small, "--search", "--search-population", "4", "--search-select", "2", "--search-crossover", "2", "--search-epochs", "2", "--search-mean", "40", "--search-samples", "2"];
        CliRunner.Run([.. search, "-o", folder["groups.json"]]).Succeeded();

        CliRunner.Run([.. s_small, "--groups", folder["groups.json"], "-o", folder["q.safetensors"]]).Succeeded();

        var groups = JsonDocument.Parse(File.ReadAllText(folder["groups.json"])).RootElement;
        var layers = JsonDocument.Parse(CliRunner.Run("inspect", folder["q.safetensors"], "--json").Succeeded().Out).RootElement.ToString();
        Assert.That(groups.EnumerateObject().Count(), Is.EqualTo(8));
        Assert.That(groups.EnumerateObject().Average(group => group.Value.GetInt32()), Is.GreaterThanOrEqualTo(40));
        Assert.That(File.ReadAllLines(folder["groups.json.log.jsonl"]), Has.Length.EqualTo(3));
        Assert.That(layers, Is.Not.Empty);
        var again = CliRunner.Run([.. search, "-o", folder["groups.json"]]).Succeeded();
        Assert.That(again.Error, Does.Contain("after generation 2"));
    }

    [Test]
    public void A_report_names_every_layer_and_needs_nothing_from_elsewhere()
    {
        using var folder = new TemporaryFolder();

        var run = CliRunner.Run([.. s_small, "--method", "gptq", "--samples", "3", "--pack-all", "-o", folder["q.safetensors"], "--report", folder["report"]]).Succeeded();

        var path = Path.Combine(folder["report"], "report.html");
        var page = File.ReadAllText(path);
        Assert.That(run.Error, Does.Contain(path));
        Assert.That(page, Does.Contain("<svg").And.Contain("blocks.1.mlp.fc2").And.Contain("final_layer.linear").And.Contain("Error of the outputs"));
        Assert.That(page, Does.Contain($"{new FileInfo(folder["q.safetensors"]).Length:N0}").And.Contain("w4a8 g32").And.Contain("gptq"));
        Assert.That(page, Does.Not.Contain("http").And.Not.Contain("<script").And.Not.Contain("NaN"));
    }

    [Test]
    public void Rounding_has_no_error_of_outputs_to_report()
    {
        using var folder = new TemporaryFolder();

        CliRunner.Run([.. s_small, "-o", folder["q.safetensors"], "--report", folder["report"]]).Succeeded();

        Assert.That(File.ReadAllText(Path.Combine(folder["report"], "report.html")), Does.Contain("Error of the weights").And.Not.Contain("Error of the outputs"));
    }

    [Test]
    public void A_report_that_cannot_be_written_is_told_before_the_work()
    {
        using var folder = new TemporaryFolder();

        CliRunner.Run([.. s_small, "-o", folder["q.safetensors"], "--report", TestFiles.Golden("tiny/official.safetensors")]).Failed(ExitCode.Usage, "official.safetensors");

        Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.Empty);
    }

    [TestCase("--method viditq", "--method viditq", "not in this build")]
    [TestCase("--method magic", "--method magic", "rtn, gptq, qdit, kmeans")]
    [TestCase("--wbits 7", "--wbits 7", "2, 3, 4, 5, 6 or 8")]
    [TestCase("--abits 4", "--abits 4", "8 or 16")]
    [TestCase("--group-size wide", "--group-size wide", "row")]
    [TestCase("--group-size -1", "--group-size -1", "row")]
    [TestCase("--method gptq --samples 0", "--samples 0", "at least 1")]
    [TestCase("--abits 16 --activations static", "--activations static", "--abits 16")]
    [TestCase("--method qdit --abits 16", "--method qdit", "--method gptq")]
    [TestCase("--search --search-select 99", "--search-select 99", "the population")]
    [TestCase("--search --search-fitness frechet", "frechet", "digit judge")]
    [TestCase("--search --report r", "--report", "--search makes none")]
    [TestCase("--search --search-mean 300", "--search-mean 300", "mean of")]
    [TestCase("--method kmeans --wbits 5", "--wbits 5", "1, 2, 3 or 4")]
    [TestCase("--method kmeans --k 16", "--k", "--d is missing")]
    [TestCase("--method kmeans --d 4", "--d", "--k is missing")]
    [TestCase("--method kmeans --k 16 --d 4 --wbits 2", "--wbits", "--k and --d")]
    [TestCase("--method kmeans --k 1 --d 4", "--k 1", "2 to 65536")]
    [TestCase("--method kmeans --k 16 --d 9", "--d 9", "2 to 8")]
    [TestCase("--method kmeans --k 16 --d 5", "blocks.0.adaLN_modulation.1", "d 5 does not divide")]
    [TestCase("--method kmeans --group-size 32", "--group-size", "--abits 8")]
    [TestCase("--method gptvq --abits 8 --group-size 30", "groups of 30", "multiple of d 4")]
    [TestCase("--method kmeans --range mse", "--range", "methods with groups")]
    [TestCase("--method kmeans --groups g.json", "--groups", "methods with groups")]
    [TestCase("--method kmeans --search", "--search", "group sizes")]
    [TestCase("--method kmeans --candidates 2", "--candidates", "vq4dit")]
    [TestCase("--method gptvq --iterations 2", "--iterations", "vq4dit and dpq")]
    [TestCase("--method vq4dit --candidates 0", "--candidates 0", "1 to k")]
    [TestCase("--method vq4dit --iterations 0", "--iterations 0", "at least 1")]
    [TestCase("--method vq4dit --data x.npz", "--data", "belongs to --method dpq")]
    [TestCase("--method vq4dit --pool on", "--pool", "belongs to --method dpq")]
    [TestCase("--method dpq --layout codebook --pool on", "--pool", "product")]
    [TestCase("--method rtn --k 16 --d 4", "--k with --method rtn", "codebooks: kmeans")]
    [TestCase("--method gptq --row-scales on", "--row-scales with --method gptq", "codebooks: kmeans")]
    public void Senseless_flags_are_refused(string flags, string named, string expected)
    {
        using var folder = new TemporaryFolder();

        CliRunner.Run([.. s_tiny, .. flags.Split(' '), "-o", folder["q.safetensors"]]).Failed(ExitCode.Usage, named, expected);

        Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.Empty);
    }

    [TestCase("[1]", "not a JSON object")]
    [TestCase("{", "not valid JSON")]
    [TestCase("""{"blocks.0.attn.qkv": "x"}""", "blocks.0.attn.qkv")]
    [TestCase("""{"blocks.0.attn.qkv": -1}""", "-1")]
    public void A_damaged_file_of_group_sizes_is_refused(string content, string expected)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["groups.json"], content);

        CliRunner.Run([.. s_tiny, "--groups", folder["groups.json"], "-o", folder["q.safetensors"]]).Failed(ExitCode.InvalidFile, "groups.json", expected);
    }

    [Test]
    public void Strange_layers_missing_files_and_unwritable_places_are_refused()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["groups.json"], """{"blocks.7.attn.qkv": 32}""");

        CliRunner.Run([.. s_tiny, "--groups", folder["groups.json"], "-o", folder["q.safetensors"]]).Failed(ExitCode.Usage, "blocks.7.attn.qkv");
        CliRunner.Run([.. s_tiny, "--groups", folder["none.json"], "-o", folder["q.safetensors"]]).Failed(ExitCode.InvalidFile, "none.json", "no such file");
        CliRunner.Run([.. s_tiny, "-o", "/no/such/folder/x.safetensors"]).Failed(ExitCode.Usage, "/no/such/folder/x.safetensors", "no such folder");
    }
}

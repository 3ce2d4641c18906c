using DiTRuntime.Checkpoints;

namespace DiTRuntime.Tests.Checkpoints;

public sealed class ShardedSafetensorsTests
{
    private const string TensorA = """{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}""";
    private const string TensorB = """{"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}""";

    private readonly TestFolder _folder = new();

    [OneTimeSetUp]
    public void WriteShards()
    {
        _folder.WriteSafetensors("1.safetensors", TensorA, 1);
        _folder.WriteSafetensors("2.safetensors", TensorB, 1);
    }

    [OneTimeTearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public void Tensors_of_all_shards_are_found()
    {
        using var checkpoint = Checkpoint.Open(Index("""{"metadata":{"total_size":2},"weight_map":{"a":"1.safetensors","b":"2.safetensors"}}"""));

        Assert.That(checkpoint.Tensors.Select(t => t.Name), Is.EqualTo(new[] { "a", "b" }));
        Assert.That(checkpoint.Kind, Is.EqualTo("safetensors, 2 shards"));
    }

    [TestCase("""{"weight_map":{"a":"../1.safetensors"}}""", "the file ../1.safetensors")]
    [TestCase("""{"weight_map":{"a":"/etc/passwd"}}""", "the file /etc/passwd")]
    [TestCase("""{"weight_map":{"a":"x\\y"}}""", "a plain file name")]
    [TestCase("""{"weight_map":{"a":".."}}""", "a plain file name")]
    [TestCase("""{"weight_map":{"a":"1.safetensors","b":"1.safetensors"}}""", "places tensor b in 1.safetensors, which does not hold it")]
    [TestCase("""{"weight_map":{"a":"2.safetensors"}}""", "places tensor a in 2.safetensors")]
    [TestCase("""{"weight_map":{"a":"1.safetensors","a":"1.safetensors"}}""", "names tensor a twice")]
    [TestCase("""{"weight_map":{"a":7}}""", "gives no file for tensor a")]
    [TestCase("""{"weight_map":{}}""", "no weight_map")]
    [TestCase("""{"weight_map":[]}""", "not an object")]
    [TestCase("""{"metadata":{}}""", "no weight_map")]
    [TestCase("""[]""", "not a JSON object")]
    [TestCase("""{"weight_map":{"a":""", "not valid JSON")]
    public void A_wrong_index_is_refused(string json, string reason) => Assert.That(Refusal.Of(Index(json)), Does.Contain(reason));

    [Test]
    public void A_missing_shard_is_refused_by_name()
    {
        var refusal = Assert.Throws<InvalidFileException>(() => Checkpoint.Open(Index("""{"weight_map":{"a":"3.safetensors"}}""")))!;

        Assert.That(refusal.Message, Is.EqualTo($"{_folder["3.safetensors"]}: no such file"));
    }

    [Test]
    public void A_tensor_that_the_index_does_not_list_is_refused_by_name()
    {
        _folder.WriteSafetensors("both.safetensors", """{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"c":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}""", 2);

        Assert.That(Refusal.Of(Index("""{"weight_map":{"a":"both.safetensors"}}""")), Does.Contain("both.safetensors holds tensor c"));
    }

    [Test]
    public void A_tensor_that_lies_in_two_shards_is_refused_by_name()
    {
        _folder.WriteSafetensors("ab.safetensors", """{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}""", 2);

        Assert.That(Refusal.Of(Index("""{"weight_map":{"a":"1.safetensors","b":"ab.safetensors"}}""")), Does.Contain("ab.safetensors holds tensor a, which the index does not place there"));
    }

    private string Index(string json) => _folder.Write("model.safetensors.index.json", json);
}

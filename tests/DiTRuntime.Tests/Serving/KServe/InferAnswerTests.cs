using System.Buffers;
using System.Text;
using System.Text.Json;
using DiTRuntime.Models.Scheduling;
using DiTRuntime.Serving.KServe;

namespace DiTRuntime.Tests.Serving.KServe;

/// <summary>What an answer to an infer request looks like.</summary>
[TestFixture]
internal sealed class InferAnswerTests
{
    private static readonly InferJob s_job = new(new GenerationRequest { Labels = [1, 2], Seed = 7 }, "the id", []);

    private static readonly InferResult s_images = new("images", InferDatatype.UInt8, [2, 1, 2, 1], [[1, 255], [0, 3]], Binary: false);
    private static readonly InferResult s_latents = new("latents", InferDatatype.Fp32, [2, 1, 1, 1], [InferBodies.Fp32(0.1f), InferBodies.Fp32(-2)], Binary: false);
    private static readonly InferResult s_png = new("png", InferDatatype.Bytes, [2], [[2, 0, 0, 0, 0x89, 0x50], [1, 0, 0, 0, 7]], Binary: false);

    [Test]
    public async Task Json_holds_everything()
    {
        var answer = new InferAnswer("m", s_job, [s_images, s_latents, s_png]);
        Assert.That(answer.HasBinary, Is.False);
        Assert.That(await TextAsync(answer), Is.EqualTo(
            """
            {"model_name":"m","model_version":"1","id":"the id","parameters":{"seed":7},"outputs":[
            {"name":"images","datatype":"UINT8","shape":[2,1,2,1],"data":[1,255,0,3]},
            {"name":"latents","datatype":"FP32","shape":[2,1,1,1],"data":[0.1,-2]},
            {"name":"png","datatype":"BYTES","shape":[2],"data":["iVA=","Bw=="]}]}
            """.ReplaceLineEndings("")));
    }

    [Test]
    public async Task Binary_tensors_follow_in_their_order()
    {
        var answer = new InferAnswer("m", s_job, [s_images with { Binary = true }, s_latents, s_png with { Binary = true }]);
        var root = JsonDocument.Parse(await TextAsync(answer)).RootElement;
        var sizes = root.GetProperty("outputs").EnumerateArray().Select(o => o.TryGetProperty("parameters", out var p) ? p.GetProperty("binary_data_size").GetInt32() : -1);
        Assert.Multiple(() =>
        {
            Assert.That(answer.HasBinary, Is.True);
            Assert.That(sizes, Is.EqualTo(new[] { 4, -1, 11 }));
            Assert.That(answer.BinaryLength, Is.EqualTo(15));
            Assert.That(answer.BinaryParts().SelectMany(p => p), Is.EqualTo(new byte[] { 1, 255, 0, 3, 2, 0, 0, 0, 0x89, 0x50, 1, 0, 0, 0, 7 }));
        });
    }

    [Test]
    public async Task The_length_is_known_before_anything_is_sent()
    {
        var pixels = new byte[100_000];
        new Random(1).NextBytes(pixels);
        var answer = new InferAnswer("m", s_job, [new InferResult("images", InferDatatype.UInt8, [1, 100, 1000, 1], [pixels], Binary: false)]);
        var counter = new CountingWriter();
        await using (var writer = new Utf8JsonWriter(counter)) await answer.WriteJsonAsync(writer, () => default);
        var text = await TextAsync(answer);
        Assert.That(counter.Count, Is.EqualTo(Encoding.UTF8.GetByteCount(text)));
        var data = JsonDocument.Parse(text).RootElement.GetProperty("outputs")[0].GetProperty("data").EnumerateArray().Select(e => e.GetByte());
        Assert.That(data, Is.EqualTo(pixels));
    }

    private static async Task<string> TextAsync(InferAnswer answer)
    {
        var text = new ArrayBufferWriter<byte>();
        await using (var writer = new Utf8JsonWriter(text)) await answer.WriteJsonAsync(writer, async () => await writer.FlushAsync());
        return Encoding.UTF8.GetString(text.WrittenSpan);
    }
}

using System.Globalization;
using DiTRuntime.Models;
using DiTRuntime.Models.Scheduling;
using DiTRuntime.Serving.Http;
using DiTRuntime.Serving.KServe;
using static DiTRuntime.Tests.Serving.KServe.InferBodies;

namespace DiTRuntime.Tests.Serving.KServe;

/// <summary>What the engine is asked for on behalf of an infer request.</summary>
[TestFixture]
internal sealed class InferJobTests
{
    private const ulong DrawnSeed = 12345;
    private const int MostImages = 4;

    private static readonly DiTConfig s_config = new()
    {
        InputSize = 2, PatchSize = 1, InChannels = 1, OutChannels = 2, HiddenSize = 8, Depth = 1, HeadCount = 1, MlpSize = 8, ClassCount = 10,
    };

    [Test]
    public void Defaults_are_those_of_the_service()
    {
        var job = Create(Labels);
        Assert.Multiple(() =>
        {
            Assert.That(job.Id, Is.Null);
            Assert.That(job.Request.Labels, Is.EqualTo(new[] { 3 }));
            Assert.That(job.Request.Seed, Is.EqualTo(DrawnSeed));
            Assert.That(job.Request.Seeds, Is.Null);
            Assert.That(job.Request.GuidanceScale, Is.EqualTo(GenerationRequest.DefaultGuidanceScale));
            Assert.That(job.Request.Sampler, Is.EqualTo(new SamplerOptions()));
            Assert.That(job.Request.InitialLatents.IsEmpty, Is.True);
            Assert.That(job.Request.Decodes, Is.True);
            Assert.That(job.Outputs, Is.EqualTo(new[] { ("images", false) }));
        });
    }

    [Test]
    public void Every_input_reaches_the_engine()
    {
        var job = Create(
            "{'name':'class_labels','datatype':'INT32','shape':[2],'data':[0,9]}",
            Int64("seed", "[2]", "[5,9223372036854775807]"),
            "{'name':'cfg_scale','datatype':'FP32','shape':[1],'data':[1.5]}",
            "{'name':'steps','datatype':'INT32','shape':[1],'data':[7]}",
            "{'name':'sampler','datatype':'BYTES','shape':[1],'data':['ddpm']}",
            "{'name':'latents','datatype':'FP32','shape':[2,1,2,2],'data':[1,2,3,4,5,6,7,8]}");
        Assert.Multiple(() =>
        {
            Assert.That(job.Request.Labels, Is.EqualTo(new[] { 0, 9 }));
            Assert.That(job.Request.SeedOf(0), Is.EqualTo(5));
            Assert.That(job.Request.SeedOf(1), Is.EqualTo((ulong)long.MaxValue));
            Assert.That(job.Request.GuidanceScale, Is.EqualTo(1.5));
            Assert.That(job.Request.Sampler, Is.EqualTo(new SamplerOptions { Sampler = "ddpm", Steps = 7 }));
            Assert.That(job.Request.InitialLatents.ToArray(), Is.EqualTo(new float[] { 1, 2, 3, 4, 5, 6, 7, 8 }));
        });
    }

    [Test]
    public void One_seed_counts_up()
    {
        var job = Create("{'name':'class_labels','datatype':'INT32','shape':[2],'data':[1,2]}", Int64("seed", "[1]", "[40]"));
        Assert.That(job.Request.SeedOf(1), Is.EqualTo(41));
    }

    [Test]
    public void Minus_one_draws_a_seed() => Assert.That(Create(Labels, Int64("seed", "[1]", "[-1]")).Request.Seed, Is.EqualTo(DrawnSeed));

    [TestCase("[{'name':'latents'}]", false, "latents False")]
    [TestCase("[{'name':'png'},{'name':'latents','parameters':{'binary_data':true}}]", true, "png False, latents True")]
    public void Outputs_come_in_the_order_asked_for_and_pixels_are_made_only_where_they_are(string outputs, bool decodes, string expected)
    {
        var job = InferJob.Create(Read("{'inputs':[" + Labels + "],'outputs':" + outputs + "}"), s_config, MostImages, () => DrawnSeed);
        Assert.That(string.Join(", ", job.Outputs.Select(o => $"{o.Name} {o.Binary}")), Is.EqualTo(expected));
        Assert.That(job.Request.Decodes, Is.EqualTo(decodes));
    }

    [Test]
    public void The_request_decides_on_binary_for_outputs_that_do_not()
    {
        var request = Read("{'inputs':[" + Labels + "],'parameters':{'binary_data_output':true},'outputs':[{'name':'png'},{'name':'images','parameters':{'binary_data':false}}]}");
        var job = InferJob.Create(request, s_config, MostImages, () => DrawnSeed);
        Assert.That(job.Outputs, Is.EqualTo(new[] { ("png", true), ("images", false) }));
    }

    [TestCase("{'name':'class_labels','datatype':'INT64','shape':[1],'data':[3]}", "class_labels: datatype INT64, expected INT32")]
    [TestCase("{'name':'class_labels','datatype':'INT32','shape':[1,1],'data':[3]}", "class_labels: shape [1,1], expected one dimension")]
    [TestCase("{'name':'class_labels','datatype':'INT32','shape':[],'data':[3]}", "class_labels: shape [], expected one dimension")]
    [TestCase("{'name':'steps','datatype':'INT32','shape':[1],'data':[3]}", "class_labels: no such input was sent")]
    [TestCase(Labels + ",{'name':'bogus','datatype':'INT32','shape':[1],'data':[3]}", "bogus: no such input, expected class_labels, seed")]
    [TestCase(Labels + ",{'name':'seed','datatype':'INT64','shape':[1],'data':[-2]}", "seed: -2, expected 0 to 9223372036854775807")]
    [TestCase(Labels + ",{'name':'seed','datatype':'INT64','shape':[2],'data':[1,2]}", "seed: 2 seeds, expected 1 or one for each of the 1 images")]
    [TestCase(Labels + ",{'name':'seed','datatype':'INT32','shape':[1],'data':[1]}", "seed: datatype INT32, expected INT64")]
    [TestCase(Labels + ",{'name':'cfg_scale','datatype':'FP32','shape':[1],'data':[100.5]}", "cfg_scale: 100.5, expected 0 to 100")]
    [TestCase(Labels + ",{'name':'cfg_scale','datatype':'FP32','shape':[1],'data':[-0.5]}", "cfg_scale: -0.5, expected 0 to 100")]
    [TestCase(Labels + ",{'name':'cfg_scale','datatype':'FP32','shape':[1],'data':[1e999]}", "cfg_scale: Infinity, expected 0 to 100")]
    [TestCase(Labels + ",{'name':'cfg_scale','datatype':'FP32','shape':[2],'data':[1,2]}", "cfg_scale: shape [2], expected [1]")]
    [TestCase(Labels + ",{'name':'steps','datatype':'INT32','shape':[1],'data':[0]}", "steps: 0, expected 1 to 1000")]
    [TestCase(Labels + ",{'name':'steps','datatype':'INT32','shape':[1],'data':[1001]}", "steps: 1001, expected 1 to 1000")]
    [TestCase(Labels + ",{'name':'steps','datatype':'FP32','shape':[1],'data':[5]}", "steps: datatype FP32, expected INT32")]
    [TestCase(Labels + ",{'name':'sampler','datatype':'BYTES','shape':[1],'data':['euler\\n']}", "sampler: euler?, expected ddim or ddpm")]
    [TestCase(Labels + ",{'name':'latents','datatype':'FP32','shape':[4],'data':[1,2,3,4]}", "latents: shape [4], expected [1,1,2,2]")]
    [TestCase(Labels + ",{'name':'latents','datatype':'FP32','shape':[2,1,2,2],'data':[1,2,3,4,5,6,7,8]}", "latents: shape [2,1,2,2], expected [1,1,2,2]")]
    [TestCase(Labels + ",{'name':'latents','datatype':'FP32','shape':[1,1,2,2],'data':[1,2,-1e39,4]}", "latents: element 2 is -Infinity, expected finite numbers")]
    public void What_is_never_allowed_is_refused_by_name(string inputs, string message) => Assert.That(Refused(400, inputs), Does.StartWith(message));

    [TestCase("{'name':'class_labels','datatype':'INT32','shape':[1],'data':[10]}", "class_labels: class 10, expected 0 to 9")]
    [TestCase("{'name':'class_labels','datatype':'INT32','shape':[1],'data':[-1]}", "class_labels: class -1, expected 0 to 9")]
    [TestCase("{'name':'class_labels','datatype':'INT32','shape':[5],'data':[1,2,3,4,5]}", "class_labels: 5 images, expected 1 to 4")]
    public void What_this_model_does_not_have_is_refused_as_impossible(string inputs, string message) => Assert.That(Refused(422, inputs), Does.StartWith(message));

    [Test]
    public void Latents_that_are_no_numbers_are_refused([Values(float.NaN, float.PositiveInfinity)] float value)
    {
        var request = Read(
            "{'inputs':[" + Labels + ",{'name':'latents','datatype':'FP32','shape':[1,1,2,2],'parameters':{'binary_data_size':16}}]}", Fp32(0, 0, 0, value));
        var refusal = Assert.Throws<ApiException>(() => InferJob.Create(request, s_config, MostImages, () => DrawnSeed))!;
        Assert.That(refusal.Message, Is.EqualTo(string.Create(CultureInfo.InvariantCulture, $"latents: element 3 is {value}, expected finite numbers")));
    }

    [Test]
    public void An_unknown_output_is_refused_by_name()
    {
        var request = Read("{'inputs':[" + Labels + "],'outputs':[{'name':'pixels'}]}");
        var refusal = Assert.Throws<ApiException>(() => InferJob.Create(request, s_config, MostImages, () => DrawnSeed))!;
        Assert.That(refusal.Message, Is.EqualTo("pixels: no such output, expected images, latents or png"));
    }

    private static InferJob Create(params string[] inputs) =>
        InferJob.Create(Read(WithInput(string.Join(',', inputs))), s_config, MostImages, () => DrawnSeed);

    private static string Int64(string name, string shape, string data) => "{'name':'" + name + "','datatype':'INT64','shape':" + shape + ",'data':" + data + "}";

    private static string Refused(int status, string inputs)
    {
        var refusal = Assert.Throws<ApiException>(() => Create(inputs))!;
        Assert.That(refusal.Status, Is.EqualTo(status));
        return refusal.Message;
    }
}

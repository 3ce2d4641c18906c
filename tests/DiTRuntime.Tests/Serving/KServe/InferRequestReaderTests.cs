using System.Text;
using DiTRuntime.Serving.Http;
using DiTRuntime.Serving.KServe;
using static DiTRuntime.Tests.Serving.KServe.InferBodies;

namespace DiTRuntime.Tests.Serving.KServe;

/// <summary>What is read from an infer request, and how what is wrong with it is told.</summary>
[TestFixture]
internal sealed class InferRequestReaderTests
{
    [Test]
    public void A_request_with_everything_is_read()
    {
        var request = Read(
            """
            {'id':'a"b', 'extra': {'x': [1, {}]}, 'parameters': {'binary_data_output': true, 'other': []},
             'inputs': [{'name':'class_labels','datatype':'INT32','shape':[2],'data':[3,-4]},
                        {'name':'seed','shape':[1],'datatype':'INT64','parameters':{'binary_data_size':8}},
                        {'data':[0.5],'shape':[1],'datatype':'FP32','name':'cfg_scale'}],
             'outputs': [{'name':'images','parameters':{'binary_data':false}},{'name':'png'}]}
            """.Replace("a\"b", "a\\'b", StringComparison.Ordinal),
            BitConverter.GetBytes(77L));

        Assert.Multiple(() =>
        {
            Assert.That(request.Id, Is.EqualTo("a\"b"));
            Assert.That(request.BinaryOutput, Is.True);
            Assert.That(request.Inputs.Select(i => i.Name), Is.EqualTo(new[] { "class_labels", "seed", "cfg_scale" }));
            Assert.That(request.Inputs[0].ToInt32Vector(), Is.EqualTo(new[] { 3, -4 }));
            Assert.That(request.Inputs[1].ToInt64Vector(), Is.EqualTo(new[] { 77L }));
            Assert.That(request.Inputs[2].ToSingle(), Is.EqualTo(0.5f));
            Assert.That(request.Outputs, Is.EqualTo(new[] { new InferOutput("images", false), new InferOutput("png", null) }));
        });
    }

    [TestCase("[1,2,3,4,5,6]")]
    [TestCase("[[1,2,3],[4,5,6]]")]
    [TestCase(" [ [1, 2,3] , [4,5,6 ] ] ")]
    public void Data_may_be_flat_or_nested(string data)
    {
        var request = Read(WithInput("{'name':'latents','datatype':'FP32','shape':[2,3],'data':" + data + "}"));
        Assert.That(request.Inputs[0].ToSingles([2, 3]), Is.EqualTo(new float[] { 1, 2, 3, 4, 5, 6 }));
    }

    [Test]
    public void Texts_are_read_from_both_parts()
    {
        var json = Read(WithInput("{'name':'sampler','datatype':'BYTES','shape':[1],'data':['dd\\u00efm']}")).Inputs[0];
        var text = Encoding.UTF8.GetBytes("ddïm");
        var binary = Read(
            WithInput("{'name':'sampler','datatype':'BYTES','shape':[1],'parameters':{'binary_data_size':" + (text.Length + 4) + "}}"), [.. Int32(text.Length), .. text]).Inputs[0];
        Assert.That(json.ToText(), Is.EqualTo("ddïm"));
        Assert.That(binary.Data.ToArray(), Is.EqualTo(json.Data.ToArray()));
    }

    [Test]
    public void Binary_tensors_follow_one_another_in_the_order_of_the_inputs()
    {
        var request = Read(
            "{'inputs':[{'name':'b','datatype':'FP32','shape':[2],'parameters':{'binary_data_size':8}},"
            + "{'name':'json','datatype':'INT32','shape':[1],'data':[1]},"
            + "{'name':'a','datatype':'INT32','shape':[1],'parameters':{'binary_data_size':4}}]}",
            [.. Fp32(1.5f, -2), .. Int32(9)]);
        Assert.That(request.Inputs[0].ToSingles([2]), Is.EqualTo(new[] { 1.5f, -2 }));
        Assert.That(request.Inputs[2].ToInt32(), Is.EqualTo(9));
    }

    [TestCase("", "not valid JSON")]
    [TestCase("{", "not valid JSON")]
    [TestCase("{'inputs':[" + Labels, "not valid JSON")]
    [TestCase("{'inputs':[" + Labels + "]} x", "not valid JSON")]
    [TestCase("{'inputs':[" + Labels + "]}{}", "not valid JSON")]
    [TestCase("{'id':'\\ud800','inputs':[" + Labels + "]}", "not valid JSON")]
    [TestCase("[]", "the request: expected a JSON object")]
    [TestCase("null", "the request: expected a JSON object")]
    [TestCase("{}", "inputs: expected at least one tensor")]
    [TestCase("{'inputs':[]}", "inputs: expected at least one tensor")]
    [TestCase("{'inputs':{}}", "inputs: expected an array")]
    [TestCase("{'inputs':null}", "inputs: expected an array")]
    [TestCase("{'inputs':[1]}", "inputs[0]: expected a JSON object")]
    [TestCase("{'inputs':[[" + Labels + "]]}", "inputs[0]: expected a JSON object")]
    [TestCase("{'id':7,'inputs':[" + Labels + "]}", "id: expected a string")]
    [TestCase("{'inputs':[" + Labels + "],'inputs':[" + Labels + "]}", "the request: inputs occurs twice")]
    [TestCase("{'inputs':[" + Labels + "," + Labels + "]}", "class_labels: occurs twice in inputs")]
    [TestCase("{'inputs':[" + Labels + "],'outputs':[{'name':'png'},{'name':'png'}]}", "png: occurs twice in outputs")]
    [TestCase("{'inputs':[" + Labels + "],'outputs':[{}]}", "outputs[0]: no name")]
    [TestCase("{'inputs':[" + Labels + "],'outputs':['png']}", "outputs[0]: expected a JSON object")]
    [TestCase("{'inputs':[" + Labels + "],'outputs':[{'name':'png','name':'images'}]}", "outputs[0]: name occurs twice")]
    [TestCase("{'inputs':[" + Labels + "],'outputs':[{'name':'png','parameters':{'binary_data':1}}]}", "png.parameters: binary_data: expected true or false")]
    [TestCase("{'inputs':[" + Labels + "],'outputs':[{'name':'png','parameters':true}]}", "png.parameters: expected a JSON object")]
    [TestCase("{'inputs':[" + Labels + "],'parameters':{'binary_data_output':'yes'}}", "parameters: binary_data_output: expected true or false")]
    [TestCase("{'inputs':[" + Labels + "],'parameters':[]}", "parameters: expected a JSON object")]
    public void A_wrong_request_is_refused(string json, string message) => Assert.That(Refused(() => Read(json)), Does.Contain(message));

    [TestCase("{'datatype':'INT32','shape':[1],'data':[1]}", "inputs[0]: no name")]
    [TestCase("{'name':'','datatype':'INT32','shape':[1],'data':[1]}", "inputs[0].name: 0 characters")]
    [TestCase("{'name':7,'datatype':'INT32','shape':[1],'data':[1]}", "inputs[0].name: expected a string")]
    [TestCase("{'name':'x','name':'y','datatype':'INT32','shape':[1],'data':[1]}", "inputs[0]: name occurs twice")]
    [TestCase("{'name':'x','shape':[1],'data':[1]}", "x: no datatype")]
    [TestCase("{'name':'x','datatype':32,'shape':[1],'data':[1]}", "x.datatype: expected a string")]
    [TestCase("{'name':'x','datatype':'int32','shape':[1],'data':[1]}", "x: datatype int32, expected INT32")]
    [TestCase("{'name':'x','datatype':'FP64','shape':[1],'data':[1]}", "x: datatype FP64, expected INT32")]
    [TestCase("{'name':'x','datatype':'INT32','data':[1]}", "x: no shape")]
    [TestCase("{'name':'x','datatype':'INT32','shape':1,'data':[1]}", "x.shape: expected an array")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[-1],'data':[1]}", "x.shape: element 0")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[0],'data':[]}", "x.shape: element 0")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[1.5],'data':[1]}", "x.shape: element 0")]
    [TestCase("{'name':'x','datatype':'INT32','shape':['1'],'data':[1]}", "x.shape: element 0")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[1,99999999999],'data':[1]}", "x.shape: element 1")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[1,1e400],'data':[1]}", "x.shape: element 1")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[1,1,1,1,1,1,1,1,1],'data':[1]}", "x.shape: more than 8 elements")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[2147483647],'data':[1]}", "x: shape [2147483647] is larger than any body")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[65536,65536],'data':[1]}", "x: shape [65536,65536] is larger than any body")]
    [TestCase("{'name':'x','datatype':'INT64','shape':[2147483647,2147483647,2147483647,2147483647],'data':[1]}", "is larger than any body")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[500000000],'data':[1]}", "x: data hold fewer elements than shape [500000000]")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[1],'data':1}", "x: data: expected an array")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[1],'data':null}", "x: data: expected an array")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[1],'data':[]}", "x: data hold fewer elements than shape [1]")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[2],'data':[1]}", "x: data hold fewer elements than shape [2]")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[1],'data':[1,2]}", "x: data hold more elements than shape [1]")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[1],'data':[[1]]}", "x: data: element 0 is no INT32")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[2,2],'data':[[1,2],[3]]}", "x: data hold fewer elements than shape [2,2]")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[2,2],'data':[[1,2,3],[4]]}", "x: data hold more elements than shape [2,2]")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[2,2],'data':[[1,2],3,4]}", "x: data are not nested as shape [2,2]")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[2,2],'data':[1,[2],3,4]}", "x: data: element 1 is no INT32")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[2,2],'data':[[[1,2],[3,4]]]}", "x: data: element 0 is no INT32")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[1],'data':[2147483648]}", "x: data: element 0 is no INT32")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[1],'data':[1.0]}", "x: data: element 0 is no INT32")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[1],'data':['1']}", "x: data: element 0 is no INT32")]
    [TestCase("{'name':'x','datatype':'INT64','shape':[1],'data':[9223372036854775808]}", "x: data: element 0 is no INT64")]
    [TestCase("{'name':'x','datatype':'FP32','shape':[1],'data':[NaN]}", "not valid JSON")]
    [TestCase("{'name':'x','datatype':'FP32','shape':[2],'data':[1,'NaN']}", "x: data: element 1 is no FP32")]
    [TestCase("{'name':'x','datatype':'FP32','shape':[1],'data':[true]}", "x: data: element 0 is no FP32")]
    [TestCase("{'name':'x','datatype':'BYTES','shape':[1],'data':[1]}", "x: data: element 0 is no BYTES")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[1]}", "x: neither data nor binary_data_size")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[1],'data':[1],'parameters':{'binary_data_size':4}}", "x: both data and binary_data_size")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[1],'parameters':{'binary_data_size':4}}", "x: binary_data_size 4, but 0 bytes are left")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[1],'data':[1],'data':[2]}", "inputs[0]: data occurs twice")]
    [TestCase("{'name':'x','datatype':'INT32','shape':[1],'parameters':[],'data':[1]}", "x.parameters: expected a JSON object")]
    public void A_wrong_tensor_is_refused_by_name(string input, string message) => Assert.That(Refused(() => Read(WithInput(input))), Does.Contain(message));

    [TestCase("-4", "x: binary_data_size: expected a number of bytes")]
    [TestCase("'4'", "x: binary_data_size: expected a number of bytes")]
    [TestCase("4.5", "x: binary_data_size: expected a number of bytes")]
    [TestCase("null", "x: binary_data_size: expected a number of bytes")]
    [TestCase("99999999999999999999", "x: binary_data_size: expected a number of bytes")]
    [TestCase("0", "x: binary_data_size 0, but INT32 [2] takes 8 bytes")]
    [TestCase("4", "x: binary_data_size 4, but INT32 [2] takes 8 bytes")]
    [TestCase("9", "x: binary_data_size 9, but INT32 [2] takes 8 bytes")]
    [TestCase("13", "x: binary_data_size 13, but 12 bytes are left of the body")]
    [TestCase("9223372036854775807", "x: binary_data_size 9223372036854775807, but 12 bytes are left of the body")]
    [TestCase("8,'binary_data_size':8", "x.parameters: binary_data_size occurs twice")]
    [TestCase("8", "x: 4 bytes follow the data of this last tensor")]
    public void A_lying_size_is_refused_by_name(string size, string message) => Assert.That(
        Refused(() => Read(WithInput("{'name':'x','datatype':'INT32','shape':[2],'parameters':{'binary_data_size':" + size + "}}"), Int32(1, 2, 3))), Does.Contain(message));

    [Test]
    public void Sizes_must_add_up_to_the_body() => Assert.That(
        Refused(() => Read(
            "{'inputs':[{'name':'x','datatype':'INT32','shape':[2],'parameters':{'binary_data_size':8}},{'name':'y','datatype':'INT32','shape':[2],'parameters':{'binary_data_size':8}}]}",
            Int32(1, 2, 3))),
        Does.Contain("y: binary_data_size 8, but 4 bytes are left"));

    [TestCase(new byte[] { 1, 0, 0, 0, 65, 1, 0, 0, 0 }, "x: element 1 has 1 bytes, but 0 are left")]
    [TestCase(new byte[] { 1, 0, 0, 0, 65, 1, 0, 0 }, "x: the data end before the length of element 1")]
    [TestCase(new byte[] { 1, 0, 0, 0, 65 }, "x: the data end before the length of element 1")]
    [TestCase(new byte[] { 255, 255, 255, 255, 65, 1, 0, 0, 0 }, "x: element 0 has 4294967295 bytes, but 5 are left")]
    [TestCase(new byte[] { 0, 0, 0, 0, 0, 0, 0, 0, 7 }, "x: 1 bytes follow the last element")]
    public void Lying_lengths_of_texts_are_refused_by_name(byte[] data, string message) => Assert.That(
        Refused(() => Read(WithInput("{'name':'x','datatype':'BYTES','shape':[2],'parameters':{'binary_data_size':" + data.Length + "}}"), data)), Does.Contain(message));

    [TestCase("")]
    [TestCase("0")]
    [TestCase("-1")]
    [TestCase("+5")]
    [TestCase("1e2")]
    [TestCase("79")]
    [TestCase("99999999999999999999")]
    [TestCase("78,78")]
    [TestCase("\u0667")]
    public void A_wrong_length_of_the_header_is_refused(string length)
    {
        var body = Json(WithInput(Labels));
        Assert.That(body, Has.Length.EqualTo(78));
        Assert.That(Refused(() => InferRequestReader.Read(body, length)), Does.StartWith("Inference-Header-Content-Length: "));
    }

    [Test]
    public void Too_many_tensors_are_refused()
    {
        var inputs = string.Join(',', Enumerable.Range(0, 17).Select(i => Labels.Replace("class_labels", $"x{i}", StringComparison.Ordinal)));
        Assert.That(Refused(() => Read("{'inputs':[" + inputs + "]}")), Does.Contain("inputs: more than 16 elements"));
    }

    [Test]
    public void Deep_nesting_is_refused([Values("{'a':", "[")] string open)
    {
        var deep = string.Concat(Enumerable.Repeat(open, 100_000));
        Assert.That(Refused(() => Read("{'extra':" + deep)), Does.Contain("not valid JSON"));
        Assert.That(Refused(() => Read(WithInput("{'name':'x','datatype':'INT32','shape':[1,1,1],'data':" + deep))), Does.Contain("not valid JSON"));
    }

    [Test]
    public void Bytes_that_are_no_text_are_refused()
    {
        var body = Json("{'inputs':[{'name':'x?','datatype':'INT32','shape':[1],'data':[1]}]}");
        body[Array.IndexOf(body, (byte)'?')] = 0xff;
        Assert.That(Refused(() => InferRequestReader.Read(body, null)), Does.Contain("not valid JSON"));
    }

    [Test]
    public void A_hostile_name_comes_back_on_one_short_line()
    {
        var message = Refused(() => Read(WithInput("{'name':'a\\n\\u001b[31m\\u202e','datatype':'INT32'}")));
        Assert.That(message, Is.EqualTo("a??[31m?: no shape"));
        Assert.That(Refused(() => Read(WithInput("{'name':'" + new string('a', 65) + "'}"))), Does.Contain("65 characters, expected 1 to 64"));
    }

    [Test]
    public void A_refusal_takes_memory_in_proportion_to_the_body()
    {
        var body = Json(WithInput("{'name':'x','datatype':'INT32','shape':[500000000],'data':[1]}"));
        var before = GC.GetAllocatedBytesForCurrentThread();
        Refused(() => InferRequestReader.Read(body, null));
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(1 << 20));
    }

    private static string Refused(Func<InferRequest> read)
    {
        var refusal = Assert.Throws<ApiException>(() => read())!;
        Assert.That(refusal.Status, Is.EqualTo(400));
        Assert.That(refusal.Message, Does.Not.Contain('\n').And.Length.LessThan(400));
        return refusal.Message;
    }
}

using System.Text.Json.Nodes;
using DiTRuntime.Tests.Cli;

namespace DiTRuntime.Tests.Cuda.Driver;

/// <summary><c>dit devices</c>.</summary>
[TestFixture]
[NonParallelizable]
internal sealed class DevicesCommandTests
{
    private static readonly string[] s_variables = ["DIT_LIBCUDA", "DIT_LIBNVRTC", "CXX"];
    private readonly Dictionary<string, string?> _before = [];

    [SetUp]
    public void Keep_variables()
    {
        foreach (var name in s_variables) _before[name] = Environment.GetEnvironmentVariable(name);
    }

    [TearDown]
    public void Restore_variables()
    {
        foreach (var name in s_variables) Environment.SetEnvironmentVariable(name, _before[name]);
    }

    [Test]
    public void What_is_there_is_listed()
    {
        var stub = StubDriver.Fresh();
        stub.SetDeviceCount(2);
        Environment.SetEnvironmentVariable("DIT_LIBCUDA", stub.File);
        var nvrtc = StubDriver.Build("libnvrtc_stub.c", "libnvrtc.so.12", "-DSTUB_MAJOR=12", "-DSTUB_MINOR=6");
        Environment.SetEnvironmentVariable("DIT_LIBNVRTC", nvrtc);
        var lines = CliRunner.Run("devices").Succeeded().OutLines;
        Assert.That(lines.Take(4), Is.EqualTo(new[]
        {
            "GPU 0     Stub GPU, architecture 9.0, 1024 MiB, 132 SMs, bus 0000:01:00.0",
            "GPU 1     Stub GPU, architecture 9.0, 1024 MiB, 132 SMs, bus 0000:02:00.0",
            $"driver    CUDA 12.4, {stub.File}",
            $"NVRTC     12.6, {nvrtc}",
        }));
        Assert.That(lines[4], Does.StartWith("emulator  "));
    }

    [Test]
    public void What_is_missing_is_explained_and_no_failure()
    {
        Environment.SetEnvironmentVariable("DIT_LIBCUDA", "/nowhere/libcuda.so.1");
        Environment.SetEnvironmentVariable("DIT_LIBNVRTC", "/nowhere/libnvrtc.so.12");
        Environment.SetEnvironmentVariable("CXX", "no-such-compiler");
        var lines = CliRunner.Run("devices").Succeeded().OutLines;
        Assert.That(lines, Has.Length.EqualTo(4));
        Assert.That(lines[0], Is.EqualTo("GPU       none"));
        Assert.That(lines[1], Does.StartWith("driver    no: ").And.Contain("/nowhere/libcuda.so.1 does not exist").And.Contain("install the NVIDIA driver"));
        Assert.That(lines[2], Does.StartWith("NVRTC     no: ").And.Contain("DIT_CUDA_PATH"));
        Assert.That(lines[3], Does.StartWith("emulator  no: ").And.Contain("no-such-compiler"));
    }

    [Test]
    public void Json_holds_the_same()
    {
        var stub = StubDriver.Fresh();
        stub.SetArchitecture(75);
        Environment.SetEnvironmentVariable("DIT_LIBCUDA", stub.File);
        Environment.SetEnvironmentVariable("DIT_LIBNVRTC", "/nowhere/libnvrtc.so.12");
        var json = JsonNode.Parse(CliRunner.Run("devices", "--json").Succeeded().Out)!;
        var gpu = json["gpus"]![0]!;
        Assert.That(((string?)gpu["name"], (string?)gpu["architecture"], (int)gpu["multiprocessors"]!, (long)gpu["memory_bytes"]!), Is.EqualTo(("Stub GPU", "7.5", 132, 1L << 30)));
        Assert.That((string?)gpu["problem"], Does.Contain("8.0 or newer"));
        Assert.That((string?)json["driver"]!["version"], Is.EqualTo("12.4"));
        Assert.That(json["nvrtc"]!["version"], Is.Null);
        Assert.That((string?)json["nvrtc"]!["problem"], Does.Contain("does not exist"));
        Assert.That(json["emulator"]!.AsObject().ContainsKey("compiler"));
    }
}

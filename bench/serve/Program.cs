using System.CommandLine;
using System.Globalization;
using DiTRuntime.Bench.Serve;

if (args is [OverheadMeasurement.ProbeWord, var url, var time]) return await OverheadMeasurement.ProbeAsync(url, double.Parse(time, CultureInfo.InvariantCulture));

string[] all = ["throughput", "latency", "crowd", "memory", "overhead"];
var dit = new Option<string>("--dit") { Description = "Path of dit.dll", Required = true };
var output = new Option<string>("--out") { Description = "Folder for serve.md and serve.json", DefaultValueFactory = _ => Path.Combine(".build", "serve-bench") };
var quick = new Option<bool>("--quick") { Description = "Two minutes that show that it works" };
var only = new Option<string>("--only") { Description = "What to measure", DefaultValueFactory = _ => string.Join(',', all) };
var steps = new Option<int>("--steps") { Description = "Sampling steps", DefaultValueFactory = _ => 20 };
var scale = new Option<double>("--cfg-scale") { Description = "Guidance scale", DefaultValueFactory = _ => 4 };
var crowdSteps = new Option<int>("--crowd-steps") { Description = "Sampling steps of the crowd's images", DefaultValueFactory = _ => 4 };
var rounds = new Option<int?>("--rounds") { Description = "Rounds of the throughput measurement [default: 5]" };
var images = new Option<int?>("--images") { Description = "Images of one throughput measurement [default: 120]" };
var probes = new Option<int?>("--probes") { Description = "Requests whose latency is measured [default: 200]" };
var small = new Option<int>("--small-clients") { Description = "Clients that ask for one image now and then while latency is measured", DefaultValueFactory = _ => 2 };
var pause = new Option<double>("--pause") { Description = "Their pause between two requests, in times of the latency alone", DefaultValueFactory = _ => 10 };
var clients = new Option<int?>("--clients") { Description = "Clients of the crowd [default: 1000]" };
var seconds = new Option<double?>("--seconds") { Description = "How long the crowd asks [default: 60]" };
var minutes = new Option<double?>("--minutes") { Description = "How long memory is watched [default: 10]" };

var command = new RootCommand("Loads dit serve and measures it") { dit, output, quick, only, steps, scale, crowdSteps, rounds, images, probes, small, pause, clients, seconds, minutes };
command.SetAction(async (parse, _) =>
{
    var isQuick = parse.GetValue(quick);
    var options = new BenchOptions
    {
        Dit = parse.GetRequiredValue(dit),
        Out = parse.GetRequiredValue(output),
        Only = parse.GetRequiredValue(only).Split(','),
        Steps = parse.GetValue(steps),
        Scale = parse.GetValue(scale),
        CrowdSteps = parse.GetValue(crowdSteps),
        Rounds = parse.GetValue(rounds) ?? (isQuick ? 1 : 5),
        Images = parse.GetValue(images) ?? (isQuick ? 20 : 120),
        Probes = parse.GetValue(probes) ?? (isQuick ? 10 : 200),
        SmallClients = parse.GetValue(small),
        Pause = parse.GetValue(pause),
        Clients = parse.GetValue(clients) ?? (isQuick ? 50 : 1000),
        CrowdTime = TimeSpan.FromSeconds(parse.GetValue(seconds) ?? (isQuick ? 5 : 60)),
        MemoryTime = TimeSpan.FromMinutes(parse.GetValue(minutes) ?? (isQuick ? 0.2 : 10)),
        WarmUp = TimeSpan.FromSeconds(isQuick ? 5 : 120),
        OverheadTime = TimeSpan.FromSeconds(isQuick ? 2 : 20),
    };
    if (options.Only.FirstOrDefault(name => !all.Contains(name)) is { } unknown)
    {
        Console.Error.WriteLine($"serve-bench: --only {unknown}: expected {string.Join(", ", all)}");
        return 2;
    }

    var measurements = new List<Measurement>();
    if (options.Only.Any(name => name != "overhead"))
    {
        await using var server = await ServerProcess.StartAsync(options.Dit, core: null);
        foreach (var name in all.Where(options.Only.Contains))
        {
            if (name == "overhead") continue;
            Console.Error.WriteLine($"serve-bench: {name}");
            measurements.Add(await (name switch
            {
                "throughput" => ThroughputMeasurement.RunAsync(options, server),
                "latency" => LatencyMeasurement.RunAsync(options, server),
                "crowd" => CrowdMeasurement.RunAsync(options, server),
                _ => MemoryMeasurement.RunAsync(options, server),
            }));
        }

        var code = await server.StopAsync();
        if (code != 0) throw new InvalidOperationException($"dit serve ended with {code}");
    }

    if (options.Only.Contains("overhead")) measurements.Add(await OverheadMeasurement.RunAsync(options));
    ResultFiles.Write(options.Out, measurements);
    return measurements.All(one => one.IsMet) ? 0 : 6;
});
return await command.Parse(args).InvokeAsync();

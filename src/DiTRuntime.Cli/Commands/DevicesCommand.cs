using System.CommandLine;
using System.Text.Json.Nodes;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Cuda.Interop;

namespace DiTRuntime.Cli.Commands;

/// <summary><c>dit devices</c>: which GPUs, driver, run-time compiler and emulator are here, and why something is not.</summary>
internal static class DevicesCommand
{
    /// <summary>Makes the command.</summary>
    /// <param name="open">Reads the common options.</param>
    public static Command Create(Func<ParseResult, Session> open)
    {
        var command = new Command("devices", "Tell which GPUs, driver, kernel compiler and emulator are here, and why something is not");
        command.SetAction(parse =>
        {
            var session = open(parse);
            var (probe, nvrtc, emulator) = (CudaDevice.Probe(), Nvrtc(), Emulator());
            if (session.Json) session.Print(Json(probe, nvrtc, emulator));
            else PrintText(probe, nvrtc, emulator, session);
            return (int)ExitCode.Ok;
        });
        return command;
    }

    private static void PrintText(CudaProbe probe, Finding nvrtc, Finding emulator, Session session)
    {
        foreach (var gpu in probe.Devices)
        {
            session.Print($"GPU {gpu.Ordinal}     {gpu.Name}, architecture {CudaDeviceInfo.Dotted(gpu.Architecture)}, {gpu.MemoryBytes >> 20} MiB, {gpu.MultiprocessorCount} SMs, bus {gpu.BusId}"
                + (gpu.Problem is null ? string.Empty : $"; not usable: {gpu.Problem}"));
        }

        if (probe.Devices.Count == 0) session.Print($"GPU       none");
        session.Print($"driver    {(probe.Library is null ? "no: " + probe.Problem : $"CUDA {CudaVersion(probe)}, {probe.Library}")}");
        session.Print($"NVRTC     {nvrtc.Text}");
        session.Print($"emulator  {emulator.Text}");
    }

    private static JsonObject Json(CudaProbe probe, Finding nvrtc, Finding emulator) => new()
    {
        ["gpus"] = new JsonArray([.. probe.Devices.Select(gpu => new JsonObject
        {
            ["ordinal"] = gpu.Ordinal,
            ["name"] = gpu.Name,
            ["architecture"] = CudaDeviceInfo.Dotted(gpu.Architecture),
            ["multiprocessors"] = gpu.MultiprocessorCount,
            ["memory_bytes"] = gpu.MemoryBytes,
            ["bus_id"] = gpu.BusId,
            ["problem"] = gpu.Problem,
        })]),
        ["driver"] = new JsonObject { ["version"] = probe.Library is null ? null : CudaVersion(probe), ["library"] = probe.Library, ["problem"] = probe.Problem },
        ["nvrtc"] = new JsonObject { ["version"] = nvrtc.Version, ["library"] = nvrtc.Place, ["problem"] = nvrtc.Problem },
        ["emulator"] = new JsonObject { ["compiler"] = emulator.Version, ["problem"] = emulator.Problem },
    };

    private static Finding Nvrtc() => Find(() =>
    {
        using var library = NvrtcLibrary.Load();
        return new Finding($"{library.Version.Major}.{library.Version.Minor}", library.File, null);
    });

    private static Finding Emulator() => Find(() =>
    {
        var compiler = new HostCompiler();
        return new Finding(compiler.Name, null, null);
    });

    private static Finding Find(Func<Finding> look)
    {
        try
        {
            return look();
        }
        catch (GpuException e)
        {
            return new Finding(null, null, e.Message);
        }
    }

    private static string CudaVersion(CudaProbe probe) => $"{probe.DriverVersion / 1000}.{probe.DriverVersion % 1000 / 10}";

    /// <summary>Something that is here, or why it is not.</summary>
    private sealed record Finding(string? Version, string? Place, string? Problem)
    {
        public string Text => Problem is not null ? "no: " + Problem : Place is null ? Version! : $"{Version}, {Place}";
    }
}

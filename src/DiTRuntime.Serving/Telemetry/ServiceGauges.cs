using System.Diagnostics.Metrics;
using DiTRuntime.Models;

namespace DiTRuntime.Serving.Telemetry;

/// <summary>What is looked up when somebody asks: load, memory, readiness and the build.</summary>
internal sealed class ServiceGauges
{
    private readonly ModelHost _host;

    /// <param name="meters">Makes the meter, and ends it with the service.</param>
    /// <param name="host">The model.</param>
    public ServiceGauges(IMeterFactory meters, ModelHost host)
    {
        _host = host;
        var meter = meters.Create(ServiceMetrics.MeterName);
        meter.CreateObservableGauge("dit_queue_depth", () => _host.Model?.Scheduler.Load.QueuedRequests ?? 0, null, "Requests that wait for their first step.");
        meter.CreateObservableGauge("dit_running_images", () => _host.Model?.Scheduler.Load.RunningImages ?? 0, null, "Images in the running batch.");
        meter.CreateObservableGauge("dit_memory_bytes", Memory, "By", "Memory by part.");
        meter.CreateObservableGauge("dit_ready", () => _host.State == ServingState.Ready ? 1 : 0, null, "1 when requests are accepted.");
        meter.CreateObservableGauge("dit_build_info", Build, null, "What is running; always 1.");
    }

    private IEnumerable<Measurement<long>> Memory()
    {
        if (_host.Model is { } model)
        {
            yield return Part("weights", model.WeightBytes);
            yield return Part("modulation", (long)model.Scheduler.MaxSteps * ModulationTable.RowBytes(model.Config));
            if (model.GpuBytes is { } gpu) yield return Part("gpu", gpu);
        }

        yield return Part("managed", GC.GetTotalMemory(forceFullCollection: false));
        yield return Part("resident", Environment.WorkingSet);
    }

    private IEnumerable<Measurement<int>> Build()
    {
        if (_host.Model is not { } model) yield break;
        yield return new Measurement<int>(1, Label("version", ProductVersion.Text), Label("backend", model.Backend), Label("model", model.Id));
    }

    private static Measurement<long> Part(string name, long bytes) => new(bytes, Label("part", name));

    private static KeyValuePair<string, object?> Label(string name, string value) => new(name, value);
}

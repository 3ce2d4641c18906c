using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Exporter.Cuda;

/// <summary>Compiles the kernels of a plan.</summary>
internal static class PlanKernels
{
    /// <summary>Compiles, several at once.</summary>
    /// <param name="plan">Whose kernels.</param>
    /// <param name="compiler">For the plan's architecture.</param>
    /// <param name="cancellation">Ends the work.</param>
    /// <returns>The images in the plan's order.</returns>
    /// <exception cref="GpuException">A kernel does not compile, or its registers do not suffice there.</exception>
    public static IReadOnlyList<KernelImage> Compile(RecordedPlan plan, IKernelCompiler compiler, CancellationToken cancellation)
    {
        var images = new Dictionary<string, KernelImage>();
        var failures = KernelBuild.Run([.. plan.Kernels.Select(kernel => (compiler, kernel.Spec))], 0, image => images.Add(image.Title, image), cancellation);
        if (failures.Count > 0) throw failures[0];
        foreach (var image in images.Values)
        {
            // A host compiler's log speaks of no registers.
            if (CompilationReport.Parse(image.Log) is { Spills: true } report)
                throw new GpuException($"{image.Title} by {compiler.Name}: {report.SpillStoreBytes + report.SpillLoadBytes} bytes are spilled from registers; such a kernel is not exported");
        }

        return [.. plan.Kernels.Select(kernel => images[kernel.Spec.Text])];
    }
}

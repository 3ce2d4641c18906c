using DiTRuntime.Cuda.Devices;

namespace DiTRuntime.Cuda.Compilation;

/// <summary>Compiles many kernels, several at once.</summary>
public static class KernelBuild
{
    /// <summary>Compiles every kernel; one that does not compile does not keep the others from it.</summary>
    /// <param name="work">The kernels, each with the compiler for its target.</param>
    /// <param name="threadCount">Kernels compiled at once; 0 means one per processor.</param>
    /// <param name="built">Told of each kernel when it is done, one at a time.</param>
    /// <param name="cancellation">Ends the work after the kernels that are being compiled.</param>
    /// <returns>The kernels that do not compile, in the order of <paramref name="work"/>.</returns>
    /// <exception cref="GpuException">A compiler itself failed.</exception>
    public static IReadOnlyList<KernelCompilationException> Run(
        IReadOnlyList<(IKernelCompiler Compiler, KernelSpec Spec)> work, int threadCount, Action<KernelImage>? built, CancellationToken cancellation)
    {
        var failures = new KernelCompilationException?[work.Count];
        var turn = new Lock();
        var options = new ParallelOptions { MaxDegreeOfParallelism = threadCount > 0 ? threadCount : Environment.ProcessorCount, CancellationToken = cancellation };
        try
        {
            Parallel.For(0, failures.Length, options, index =>
            {
                try
                {
                    var image = work[index].Compiler.Compile(work[index].Spec);
                    lock (turn) built?.Invoke(image);
                }
                catch (KernelCompilationException e)
                {
                    failures[index] = e;
                }
            });
        }
        catch (AggregateException e) when (e.InnerExceptions[0] is DiTException first)
        {
            throw first;
        }

        return [.. failures.OfType<KernelCompilationException>()];
    }
}

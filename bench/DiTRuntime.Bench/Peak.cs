namespace DiTRuntime.Bench;

/// <summary>Runs a loop on several threads at once.</summary>
internal static class Peak
{
    /// <summary>Runs the loop once on each thread; the result keeps the compiler from leaving it out.</summary>
    public static int OnThreads(int threadCount, Func<int> loop)
    {
        var results = new int[threadCount];
        var threads = new Thread[threadCount - 1];
        for (var i = 0; i < threads.Length; i++)
        {
            var index = i + 1;
            threads[i] = new Thread(() => results[index] = loop());
            threads[i].Start();
        }

        results[0] = loop();
        foreach (var thread in threads) thread.Join();
        return results.Aggregate((a, b) => a ^ b);
    }
}

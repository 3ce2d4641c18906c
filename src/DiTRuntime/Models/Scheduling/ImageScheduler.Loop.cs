using System.Diagnostics;

namespace DiTRuntime.Models.Scheduling;

/// <summary>The scheduler's thread.</summary>
public sealed partial class ImageScheduler
{
    private readonly List<Generation> _active = [];
    private readonly List<RollingImage> _chosen = [];
    private readonly Dictionary<RollingImage, Generation> _generationOf = [];
    private int _begun;

    private void Run()
    {
        var chooser = new StepChooser(_costs);
        // Made once: a step allocates nothing.
        Func<Generation, int, bool> begin = Begin;
        while (Await())
        {
            chooser.Choose(_active, Math.Min(_batch.SampleLimit, _costs.Worthwhile()), begin, _chosen);
            if (_chosen.Count > 0) Step();
        }

        _batch.Dispose();
        _drained.TrySetResult();
        _ended.TrySetResult();
    }

    /// <summary>Waits for requests, and takes out what was cancelled.</summary>
    /// <returns>False when the thread is to end.</returns>
    private bool Await()
    {
        lock (_gate)
        {
            RemoveEnded();
            while (_open.Count == 0)
            {
                Volatile.Write(ref _stepSamples, 0);
                if (_closed) _drained.TrySetResult();
                if (_stops) return false;
                Monitor.Wait(_gate);
                RemoveEnded();
            }

            _active.Clear();
            _active.AddRange(_open);
            return true;
        }
    }

    private void RemoveEnded()
    {
        for (var i = _batch.Images.Count - 1; i >= 0; i--)
        {
            var image = _batch.Images[i];
            if (_generationOf[image].Status == GenerationStatus.Running) continue;
            _batch.Remove(image);
            Forget(image);
        }

        for (; _cancelledImages > 0; _cancelledImages--) _observer?.ImageCancelled();
    }

    private bool Begin(Generation generation, int index)
    {
        var image = generation.ImageAt(index);
        try
        {
            if (!_batch.TryAdd(image)) return false;
        }
        catch (Exception e)
        {
            _observer?.ImageFailed();
            lock (_gate) generation.Fail(e);
            return false;
        }

        _generationOf.Add(image, generation);
        _begun++;
        lock (_gate)
        {
            if (generation.Status != GenerationStatus.Queued) return true;
            Dequeue(generation);
            generation.Begin();
        }

        _observer?.Queued(DateTimeOffset.UtcNow - generation.Created);
        return true;
    }

    private void Step()
    {
        var samples = 0;
        foreach (var image in _chosen) samples += image.SampleCount;
        Volatile.Write(ref _stepSamples, samples);
        var start = Stopwatch.GetTimestamp();
        var left = _batch.Step(_chosen);
        var duration = Stopwatch.GetElapsedTime(start);
        _observer?.StepTaken(duration, samples);
        _costs.Add(samples, duration.TotalSeconds);
        ShowPreviews();
        lock (_gate)
        {
            _samplesPerSecond = _costs.SamplesPerSecond;
            foreach (var image in _chosen)
                if (image.State is RollingState.Running or RollingState.Finished && _generationOf[image] is { Status: GenerationStatus.Running } generation) generation.Advance();
        }

        foreach (var image in left) Conclude(image);
    }

    private void ShowPreviews()
    {
        foreach (var image in _chosen)
        {
            var generation = _generationOf[image];
            if (image.State != RollingState.Running || generation.PreviewInterval is not (> 0 and var interval) || image.StepsTaken % interval != 0) continue;
            var latent = new float[Config.LatentCount];
            try
            {
                _batch.Read(image, latent);
            }
            catch (Exception)
            {
                // What a device reports here, it reports to the next step again.
                continue;
            }

            lock (_gate) generation.Show(image, latent);
        }
    }

    /// <summary>An image has left the batch: its request gets it, or its failure.</summary>
    private void Conclude(RollingImage image)
    {
        var generation = _generationOf[image];
        Forget(image);
        float[]? pixels = null;
        var failure = image.Failure;
        if (failure is null && generation.Request.Decodes && generation.Status == GenerationStatus.Running) pixels = Decode(image, out failure);
        if (failure is null) _observer?.ImageFinished();
        // What goes down with another image of its request is counted as cancelled.
        else if (generation.Status == GenerationStatus.Running) _observer?.ImageFailed();
        lock (_gate)
        {
            if (failure is not null) generation.Fail(failure);
            else if (generation.Status == GenerationStatus.Running) generation.Finish(image, pixels);
            if (generation.Status == GenerationStatus.Completed) _open.Remove(generation);
        }
    }

    private float[]? Decode(RollingImage image, out Exception? failure)
    {
        failure = null;
        try
        {
            var start = Stopwatch.GetTimestamp();
            var pixels = DiTPipeline.Decode(_decoder!, Config, image.Latent!);
            _observer?.Decoded(Stopwatch.GetElapsedTime(start));
            return pixels;
        }
        catch (Exception e)
        {
            failure = e;
            return null;
        }
    }

    private void Forget(RollingImage image)
    {
        _generationOf.Remove(image);
        _begun--;
    }
}

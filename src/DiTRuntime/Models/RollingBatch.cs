using DiTRuntime.Backends;
using DiTRuntime.Sampling;

namespace DiTRuntime.Models;

/// <summary>
/// A batch that images join and leave between steps: each advances along its own plan, at its own timestep, with its own sampler and
/// guidance. An image has the bits that it has alone, whatever else runs, whenever it joins and in whichever steps it takes part.
/// </summary>
/// <remarks>
/// Used by one thread at a time. Memory for the largest batch is taken when it is made, and a step allocates nothing once its shape has been seen.
/// <para>
/// A step is one pass of the model over the images that take part, or several where they are more than a pass holds. The latents move in the last operation of a pass alone, and noise is drawn only after a pass
/// that went well, so a pass that throws has changed nothing: it is taken again in halves, until an image that fails by itself is found. That one
/// leaves as <see cref="RollingState.Failed"/>; the others go on with the same bits. A pass for which memory does not suffice halves the passes from
/// then on (<see cref="SampleLimit"/>). A pass that was cancelled (<see cref="IDiTBackend.Cancellation"/>) may have moved latents: all of its images fail.
/// </para>
/// </remarks>
public sealed class RollingBatch : IDisposable
{
    private readonly ResourceList _owned = new();
    private readonly DiTModel _model;
    private readonly IDiTBackend _backend;
    private readonly RollingPass _pass;
    private readonly ModulationCache _cache;
    private readonly Tensor[] _latentOfSlot;
    private readonly TorchGenerator[] _generators;
    private readonly Stack<int> _freeSlots;
    private readonly int _mostSamples;
    private readonly List<RollingImage> _images = [];
    private readonly List<RollingImage> _stepping = [];
    private readonly List<RollingImage> _left = [];

    /// <param name="model">The model.</param>
    /// <param name="limits">How large it may grow.</param>
    /// <exception cref="DiTException">There is not so much memory (exit code 4); everything has been given back, and smaller limits can be tried.</exception>
    public RollingBatch(DiTModel model, RollingLimits limits)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limits.ImageCount, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(limits.SampleCount, 1);
        _model = model;
        _backend = model.Backend;
        var slots = limits.ImageCount;
        try
        {
            _cache = _owned.Add(new ModulationCache(model, limits.TableBytes));
            _pass = _owned.Add(new RollingPass(model, slots, limits.SampleCount, _cache.Table));
        }
        catch
        {
            _owned.Dispose();
            throw;
        }

        SampleLimit = _mostSamples = limits.SampleCount;
        _latentOfSlot = [.. Enumerable.Range(0, slots).Select(slot => _pass.Latents.Rows(slot, 1))];
        _generators = [.. Enumerable.Range(0, slots).Select(_ => new TorchGenerator(0))];
        _freeSlots = new Stack<int>(Enumerable.Range(0, slots).Reverse());
    }

    /// <summary>The images in it.</summary>
    public IReadOnlyList<RollingImage> Images => _images;

    /// <summary>Images that may join.</summary>
    public int FreeCount => _freeSlots.Count;

    /// <summary>The most samples of one pass: those of the limits, or fewer after memory has run out.</summary>
    public int SampleLimit { get; private set; }

    /// <summary>Rows of the modulation table: an image whose plan has more steps (guided: half as many) is refused.</summary>
    public int TableRowCount => _cache.Table.RowCount;

    /// <summary>Compiles kernels, takes memory and records steps for every batch shape, where the backend records; else they are made when first seen.</summary>
    /// <exception cref="DiTException">Not even the smallest shapes fit into memory (exit code 4), or a kernel does not compile.</exception>
    public void Warm()
    {
        foreach (var size in _pass.RecordedSizes.Reverse())
        {
            if (size > SampleLimit) continue;
            try
            {
                _pass.RunIdle(size);
            }
            catch (Exception e) when (DiTException.IsOutOfMemory(e) && size > 2)
            {
                LowerLimit(size);
            }
        }
    }

    /// <summary>What a step takes, by its samples: powers of two, each timed once. Before images join.</summary>
    public IEnumerable<(int Samples, TimeSpan Time)> TimeSteps()
    {
        for (var samples = 2; samples <= SampleLimit; samples *= 2) yield return (samples, _pass.Time(samples));
    }

    /// <summary>Lets an image join.</summary>
    /// <param name="image">An image that has been in no batch.</param>
    /// <returns>Whether there was room; if not, try again when another has left.</returns>
    /// <exception cref="UsageException">A class that the model does not have, guidance that is not a number, or more steps than the modulation table has rows for.</exception>
    /// <exception cref="InvalidOperationException">It has been in a batch.</exception>
    public bool TryAdd(RollingImage image)
    {
        SamplingCheck.Label(_model.Config, image.Label);
        SamplingCheck.Settings(_model.Config, image.Plan, image.GuidanceScale);
        if (image.State != RollingState.Waiting) throw new InvalidOperationException($"the image is {image.State} and runs only once");
        if (image.SampleCount > _mostSamples) throw new UsageException("a guided image takes two samples, and this batch has one");
        if (_freeSlots.Count == 0) return false;

        ReadOnlySpan<int> labels = [image.Label, _model.Config.NullClass];
        var runs = new ModulationRun?[image.SampleCount];
        if (!_cache.TryTake(image.Plan, labels[..runs.Length], runs)) return false;
        image.Conditional = runs[0];
        image.Unconditional = image.IsGuided ? runs[1] : null;
        image.Slot = _freeSlots.Pop();
        try
        {
            var values = _pass.NoiseOfSlot(image.Slot);
            _generators[image.Slot].Reseed(image.Seed);
            _generators[image.Slot].Normal(values);
            _backend.Upload(image.InitialLatent.IsEmpty ? values : image.InitialLatent.Span, _latentOfSlot[image.Slot]);
        }
        catch
        {
            Release(image);
            throw;
        }

        DrawNoise(image);
        image.State = RollingState.Running;
        _images.Add(image);
        return true;
    }

    /// <summary>Takes an image out before its end; its place is free at once. One that is not in the batch stays as it is.</summary>
    public void Remove(RollingImage image)
    {
        if (!_images.Remove(image)) return;
        image.State = RollingState.Removed;
        Release(image);
    }

    /// <summary>Advances every image by one step of its plan.</summary>
    /// <inheritdoc cref="Step(IReadOnlyList{RollingImage})"/>
    public IReadOnlyList<RollingImage> Step() => Step(_images);

    /// <summary>Advances some images by one step of their plans; the others wait. A GPU may still be at work afterwards on those that go on.</summary>
    /// <param name="images">Images of this batch, each once.</param>
    /// <returns>Those that have left, finished or failed; valid until the next step.</returns>
    public IReadOnlyList<RollingImage> Step(IReadOnlyList<RollingImage> images)
    {
        _left.Clear();
        _stepping.Clear();
        // Counted: enumerating through the interface would allocate.
        for (var i = 0; i < images.Count; i++) _stepping.Add(images[i]);
        AdvanceAll(0, _stepping.Count);
        // While the device works on this step, the host draws what the next one adds.
        foreach (var image in _stepping)
            if (image.State == RollingState.Running && !image.IsComplete) DrawNoise(image);
        Collect();
        return _left;
    }

    /// <summary>The latent as it stands, [C, S, S]: what a preview shows. Waits for the device.</summary>
    /// <param name="image">An image that is in the batch or finished.</param>
    /// <param name="latent">As long as a latent.</param>
    /// <exception cref="InvalidOperationException">It is neither.</exception>
    public void Read(RollingImage image, Span<float> latent)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(latent.Length, _model.Config.LatentCount);
        if (image.Latent is { } finished) finished.CopyTo(latent);
        else if (_images.Contains(image)) _backend.Download(_latentOfSlot[image.Slot], latent);
        else throw new InvalidOperationException("the image is not in this batch");
    }

    /// <inheritdoc/>
    public void Dispose() => _owned.Dispose();

    private void AdvanceAll(int first, int end)
    {
        for (int count; first < end; first += count)
        {
            count = CountOfPass(first, end);
            Advance(first, count);
        }
    }

    /// <summary>Images from one on that go into one pass; at least that one.</summary>
    private int CountOfPass(int first, int end)
    {
        var count = 1;
        for (var samples = _stepping[first].SampleCount; first + count < end; count++)
        {
            samples += _stepping[first + count].SampleCount;
            if (samples > SampleLimit) break;
        }

        return count;
    }

    private void Advance(int first, int count)
    {
        try
        {
            _pass.Run(_stepping, first, count);
        }
        catch (Exception e)
        {
            AdvanceApart(first, count, e);
            return;
        }

        for (var i = first; i < first + count; i++) _stepping[i].StepsTaken++;
    }

    /// <summary>What a pass that has failed comes to: the same in smaller ones, or the failure of an image.</summary>
    private void AdvanceApart(int first, int count, Exception failure)
    {
        if (count == 1 || failure is OperationCanceledException)
        {
            for (var i = first; i < first + count; i++) Fail(_stepping[i], failure);
            return;
        }

        if (DiTException.IsOutOfMemory(failure) && _pass.SampleCount > 2)
        {
            LowerLimit(_pass.SampleCount);
            AdvanceAll(first, first + count);
            return;
        }

        Advance(first, count / 2);
        Advance(first + count / 2, count - count / 2);
    }

    /// <summary>Passes of so many samples do not fit: from now on at most half as many, but a guided image must.</summary>
    private void LowerLimit(int samples) => SampleLimit = Math.Min(SampleLimit, Math.Max(samples / 2, 2));

    private void DrawNoise(RollingImage image)
    {
        if (image.NextStep.Update.NeedsNoise) _generators[image.Slot].Normal(_pass.NoiseOfSlot(image.Slot));
    }

    /// <summary>Takes out what is complete or has failed.</summary>
    private void Collect()
    {
        foreach (var image in _stepping)
        {
            if (image.State == RollingState.Running && image.IsComplete) Finish(image);
            if (image.State == RollingState.Running) continue;
            _images.Remove(image);
            Release(image);
            _left.Add(image);
        }
    }

    private void Finish(RollingImage image)
    {
        try
        {
            var latent = new float[_model.Config.LatentCount];
            _backend.Download<float>(_latentOfSlot[image.Slot], latent);
            image.Latent = latent;
            image.State = RollingState.Finished;
        }
        catch (Exception e)
        {
            // Whatever a device reports late is the failure of the image that waits for it.
            Fail(image, e);
        }
    }

    private static void Fail(RollingImage image, Exception failure)
    {
        image.Failure = failure;
        image.State = RollingState.Failed;
    }

    private void Release(RollingImage image)
    {
        _freeSlots.Push(image.Slot);
        _cache.Return(image.Conditional!);
        if (image.Unconditional is { } unconditional) _cache.Return(unconditional);
        (image.Conditional, image.Unconditional) = (null, null);
    }
}

using DiTRuntime.Imaging;
using DiTRuntime.Models;
using DiTRuntime.Models.Scheduling;

namespace DiTRuntime.Serving;

/// <summary>A loaded model with its scheduler and what is told about it.</summary>
public sealed class ServedModel
{
    /// <summary>What requests call it: its file's or folder's name.</summary>
    public string Id => throw new NotImplementedException();

    /// <summary>When it was loaded.</summary>
    public DateTimeOffset Loaded => throw new NotImplementedException();

    /// <summary>Fingerprint of the weights.</summary>
    public string Hash => throw new NotImplementedException();

    /// <summary>Where it runs, for people.</summary>
    public string Backend => throw new NotImplementedException();

    /// <summary>The architecture.</summary>
    public DiTConfig Config => Scheduler.Config;

    /// <summary>Names of its classes.</summary>
    public ClassLabels Labels => throw new NotImplementedException();

    /// <summary>Side of an image in pixels.</summary>
    public int ImageSide => throw new NotImplementedException();

    /// <summary>1 or 3.</summary>
    public int ImageChannels => throw new NotImplementedException();

    /// <summary>Bytes of the weights in memory.</summary>
    public long WeightBytes => throw new NotImplementedException();

    /// <summary>Runs the requests.</summary>
    public ImageScheduler Scheduler => throw new NotImplementedException();

    /// <summary>Pixels of a finished image.</summary>
    public Image ToImage(GeneratedImage image) => throw new NotImplementedException();

    /// <summary>The file of a finished image, the same bytes that <c>dit generate</c> writes.</summary>
    /// <param name="request">The request it belongs to.</param>
    /// <param name="image">The image.</param>
    /// <param name="extension">".png", or another extension that this build writes.</param>
    public byte[] Encode(GenerationRequest request, GeneratedImage image, string extension) => throw new NotImplementedException();
}

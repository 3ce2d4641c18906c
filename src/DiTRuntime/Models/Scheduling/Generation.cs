namespace DiTRuntime.Models.Scheduling;

/// <summary>A request that was accepted: its progress, its result, and the way to cancel it. Safe for any thread.</summary>
public sealed class Generation
{
    /// <summary>What was asked for.</summary>
    public GenerationRequest Request => throw new NotImplementedException();

    /// <summary>The images in order, decoded where asked for. Faults with what an image failed of; is cancelled when the request was.</summary>
    public Task<IReadOnlyList<GeneratedImage>> Completion => throw new NotImplementedException();

    /// <summary>When it was accepted.</summary>
    public DateTimeOffset Created => throw new NotImplementedException();

    /// <summary>When its first image began, or null.</summary>
    public DateTimeOffset? Started => throw new NotImplementedException();

    /// <summary>When it ended, however it did, or null.</summary>
    public DateTimeOffset? Ended => throw new NotImplementedException();

    /// <summary>Steps between two previews of an image; 0 for none. May be set at any time.</summary>
    public int PreviewInterval { get; set; }

    /// <summary>How far it is.</summary>
    public GenerationSnapshot Snapshot() => throw new NotImplementedException();

    /// <summary>Waits until something has changed.</summary>
    /// <param name="version">The version that the caller has seen.</param>
    /// <param name="cancellation">Ends the waiting, not the request.</param>
    /// <returns>A snapshot of a later version; at once where there is one, or where the request has ended.</returns>
    public Task<GenerationSnapshot> NextAsync(long version, CancellationToken cancellation) => throw new NotImplementedException();

    /// <summary>The latest previewed latent of an image, [C, S, S], with the steps it has had; null before there is one.</summary>
    /// <param name="image">Index within the request.</param>
    public (float[] Latent, int StepsDone)? Preview(int image) => throw new NotImplementedException();

    /// <summary>Asks for its end: images leave before the next step.</summary>
    /// <returns>False when it had ended already.</returns>
    public bool Cancel() => throw new NotImplementedException();
}

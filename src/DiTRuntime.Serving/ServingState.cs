namespace DiTRuntime.Serving;

/// <summary>What a service can be asked for at the moment.</summary>
public enum ServingState
{
    /// <summary>The model is being read.</summary>
    Loading,

    /// <summary>Requests are accepted.</summary>
    Ready,

    /// <summary>Requests that were accepted are finished; no more are taken.</summary>
    Draining,

    /// <summary>The model could not be loaded.</summary>
    Failed,
}

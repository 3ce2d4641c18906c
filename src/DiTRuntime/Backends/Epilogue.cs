namespace DiTRuntime.Backends;

/// <summary>The element-wise function at the end of an operation.</summary>
public enum Activation
{
    /// <summary>y = x.</summary>
    None,

    /// <summary>y = max(x, 0).</summary>
    Relu,

    /// <summary>y = x·sigmoid(x).</summary>
    Silu,

    /// <summary>y = x/2·(1 + tanh(√(2/π)(x + 0.044715 x³))).</summary>
    GeluTanh,
}

/// <summary>Where the adaLN modulation of one layer lies: a table of precomputed rows, and which row each sample uses.</summary>
/// <param name="Table">F32 [R, chunks·H]: one row per (timestep, class) pair; a chunk is one shift, scale or gate.</param>
/// <param name="RowOfSample">I32 [B], or [steps, B] with <paramref name="Step"/>: the table row of each sample.</param>
/// <param name="Step">I32 [1]: which of the steps it is now (<see cref="UpdateTable.Step"/>); null means the first.</param>
public readonly record struct Modulation(Tensor Table, Tensor RowOfSample, Tensor? Step = null);

/// <summary>What a linear layer does with x Wᵀ + b before it stores it.</summary>
public readonly record struct Epilogue
{
    /// <summary>Applied to the product first.</summary>
    public Activation Activation { get; private init; }

    /// <summary>When set, the output is added to: y += gate·product, the gate read at <see cref="GateChunk"/>.</summary>
    public Modulation? Gate { get; private init; }

    /// <summary>Chunk of the modulation table that holds the gate.</summary>
    public int GateChunk { get; private init; }

    /// <summary>When set, y += product.</summary>
    public bool AddsToOutput { get; private init; }

    /// <summary>When not 0, the product is q, k and v of so many heads, for <see cref="IDiTBackend.Attention"/>: a backend may store it in its own layout.</summary>
    public int HeadCount { get; private init; }

    /// <summary>y = product.</summary>
    public static Epilogue None => default;

    /// <summary>y += product.</summary>
    public static Epilogue Residual => new() { AddsToOutput = true };

    /// <summary>y = product, q, k and v of all heads, to be read by <see cref="IDiTBackend.Attention"/> and nothing else.</summary>
    public static Epilogue SplitHeads(int headCount) => new() { HeadCount = headCount };

    /// <summary>y = activation(product).</summary>
    public static Epilogue Activate(Activation activation) => new() { Activation = activation };

    /// <summary>y += gate·product: the gated residual of a DiT block (Peebles and Xie, section 3.2, adaLN-Zero).</summary>
    /// <param name="modulation">The layer's modulation.</param>
    /// <param name="chunk">Which chunk of a table row is the gate.</param>
    public static Epilogue GatedResidual(Modulation modulation, int chunk) => new() { Gate = modulation, GateChunk = chunk };
}

namespace DiTRuntime.Backends.Cpu;

/// <summary>Latents to tokens and back. Bound: bytes; small beside the linear layers.</summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    private NativeBuffer? _patches;

    /// <inheritdoc/>
    public override void PatchEmbed(Tensor latents, Tensor imageOfSample, PreparedLinear projection, Tensor positions, Tensor tokens)
    {
        var patchSide = TensorCheck.PatchEmbed(this, latents, imageOfSample, projection, positions, tokens);
        var rowCount = tokens.RowCount;
        var patches = Grow(ref _patches, (long)rowCount * projection.Inputs * sizeof(float));
        var job = new GatherPatchesJob
        {
            Latents = Floats(latents),
            ImageOfSample = Integers(imageOfSample),
            Positions = Floats(positions),
            Patches = patches.Floats,
            Tokens = Floats(tokens),
            Channels = latents.Shape[1],
            Side = latents.Shape[2],
            PatchSide = patchSide,
            TokenCount = tokens.Shape[1],
            Width = tokens.RowLength,
        };
        Pool.Run(job, tokens.Shape[0]);
        RunFloats(patches.Floats, rowCount, projection, Epilogue.Residual, tokens, Floats(tokens));
        KeepAlive(latents, imageOfSample, projection, positions, tokens);
    }

    /// <inheritdoc/>
    public override void Unpatchify(Tensor patches, Tensor output)
    {
        var patchSide = TensorCheck.Unpatchify(this, patches, output);
        var job = new ScatterPatchesJob
        {
            Patches = Floats(patches),
            Output = Floats(output),
            Channels = output.Shape[1],
            Side = output.Shape[2],
            PatchSide = patchSide,
            Width = patches.RowLength,
        };
        Pool.Run(job, output.Shape[0]);
        KeepAlive(patches, output);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        base.Dispose(disposing);
        if (!disposing) return;
        _patches?.Dispose();
        _staging?.Dispose();
        _zeroPixel?.Dispose();
        _moments?.Dispose();
        DisposeTraining();
    }

    /// <summary>One sample: patches in (c, p, q) order, and tokens set to the positions, to which the projection adds.</summary>
    private struct GatherPatchesJob : IJob
    {
        public float* Latents;
        public int* ImageOfSample;
        public float* Positions;
        public float* Patches;
        public float* Tokens;
        public int Channels;
        public int Side;
        public int PatchSide;
        public int TokenCount;
        public int Width;

        public readonly void Execute(int task, byte* scratch)
        {
            var latent = Latents + (long)ImageOfSample[task] * Channels * Side * Side;
            var patch = Patches + (long)task * TokenCount * Channels * PatchSide * PatchSide;
            for (var top = 0; top < Side; top += PatchSide)
                for (var left = 0; left < Side; left += PatchSide)
                    for (var c = 0; c < Channels; c++)
                        for (var p = 0; p < PatchSide; p++)
                            for (var q = 0; q < PatchSide; q++)
                                *patch++ = latent[(c * Side + top + p) * Side + left + q];
            var values = TokenCount * Width;
            new ReadOnlySpan<float>(Positions, values).CopyTo(new Span<float>(Tokens + (long)task * values, values));
        }
    }

    /// <summary>One sample: per token (p, q, c) to [C, S, S].</summary>
    private struct ScatterPatchesJob : IJob
    {
        public float* Patches;
        public float* Output;
        public int Channels;
        public int Side;
        public int PatchSide;
        public int Width;

        public readonly void Execute(int task, byte* scratch)
        {
            var perRow = Side / PatchSide;
            var patch = Patches + (long)task * perRow * perRow * Width;
            var image = Output + (long)task * Channels * Side * Side;
            for (var top = 0; top < Side; top += PatchSide)
                for (var left = 0; left < Side; left += PatchSide)
                    for (var p = 0; p < PatchSide; p++)
                        for (var q = 0; q < PatchSide; q++)
                            for (var c = 0; c < Channels; c++)
                                image[(c * Side + top + p) * Side + left + q] = *patch++;
        }
    }
}

namespace DiTRuntime.Backends.Cpu.Reference;

public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public void PatchEmbed(Tensor latents, Tensor imageOfSample, PreparedLinear projection, Tensor positions, Tensor tokens)
    {
        var patch = TensorCheck.PatchEmbed(this, latents, imageOfSample, projection, positions, tokens);
        var prepared = TensorCheck.Prepared<ReferenceLinear>(projection);
        var (images, channels, side) = (latents.Shape[0], latents.Shape[1], latents.Shape[2]);
        var hidden = tokens.RowLength;
        var patchesPerSide = side / patch;
        var features = new float[channels * patch * patch];
        for (var sample = 0; sample < tokens.Shape[0]; sample++)
        {
            Cancellation.ThrowIfCancellationRequested();
            var image = Integers(imageOfSample)[sample];
            TensorCheck.Index(image, images, nameof(imageOfSample));
            for (var token = 0; token < tokens.Shape[1]; token++)
            {
                var (row, column) = (token / patchesPerSide, token % patchesPerSide);

                // The order of a convolution's weight [H, C, p, p].
                for (var c = 0; c < channels; c++)
                    for (var p = 0; p < patch; p++)
                        for (var q = 0; q < patch; q++)
                            features[(c * patch + p) * patch + q] =
                                Floats(latents)[((image * channels + c) * side + row * patch + p) * side + column * patch + q];

                var y = Floats(tokens).Slice((sample * tokens.Shape[1] + token) * hidden, hidden);
                for (var j = 0; j < hidden; j++) y[j] = (float)(Dot(prepared, j, features) + Floats(positions)[token * hidden + j]);
            }
        }
    }
}

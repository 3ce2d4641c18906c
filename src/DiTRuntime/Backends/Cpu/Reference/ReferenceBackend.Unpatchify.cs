namespace DiTRuntime.Backends.Cpu.Reference;

public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public void Unpatchify(Tensor patches, Tensor output)
    {
        var patch = TensorCheck.Unpatchify(this, patches, output);
        var (samples, channels, side) = (output.Shape[0], output.Shape[1], output.Shape[2]);
        var patchesPerSide = side / patch;
        var x = Floats(patches);
        var y = Floats(output);
        for (var sample = 0; sample < samples; sample++)
            for (var c = 0; c < channels; c++)
                for (var row = 0; row < side; row++)
                    for (var column = 0; column < side; column++)
                    {
                        var token = row / patch * patchesPerSide + column / patch;
                        var feature = (row % patch * patch + column % patch) * channels + c;
                        y[((sample * channels + c) * side + row) * side + column] =
                            x[(sample * patchesPerSide * patchesPerSide + token) * patches.RowLength + feature];
                    }
    }
}

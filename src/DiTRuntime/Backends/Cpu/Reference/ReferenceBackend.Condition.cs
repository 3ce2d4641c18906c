namespace DiTRuntime.Backends.Cpu.Reference;

public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public void Condition(Tensor timestepEmbedding, Tensor labelTable, Tensor labels, Tensor condition)
    {
        TensorCheck.Condition(this, timestepEmbedding, labelTable, labels, condition);
        var hidden = condition.RowLength;
        for (var row = 0; row < condition.RowCount; row++)
        {
            var label = Integers(labels)[row];
            TensorCheck.Index(label, labelTable.RowCount, nameof(labels));
            for (var i = 0; i < hidden; i++)
            {
                var sum = (double)Floats(timestepEmbedding)[row * hidden + i] + Floats(labelTable)[label * hidden + i];
                Floats(condition)[row * hidden + i] = (float)Activate(Activation.Silu, sum);
            }
        }
    }
}

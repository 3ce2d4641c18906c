using DiTRuntime.Exporter.Files;

namespace DiTRuntime.Exporter.Planning;

/// <summary>Scratch of a thread of the exported runtime, with the widest set of instructions; the others need no more.</summary>
/// <remarks>Mirrors <c>scratch_bytes</c> in runtime/kernels.inc, and what that asks of kernels_image.inc, lowbit.inc and lowbit_linear.inc.</remarks>
internal static class ThreadScratch
{
    /// <summary>Columns of a panel and rows of a tile with sixteen lanes.</summary>
    private const long Lanes = 16, PanelWidth = 3 * Lanes, TileRows = 8;

    /// <summary>Inputs that are made a panel of at a time, and rows of a task.</summary>
    private const long ExpandedDepth = 1152, LinearRows = 512;

    /// <summary>Integer products: columns of a panel, rows of a tile, rows whose sums are held.</summary>
    private const long IntegerWidth = 16, IntegerRows = 16, HeldRows = 8 << 10;

    /// <summary>Pixels that share one making of a panel.</summary>
    private const long PixelBlock = 1024;

    /// <summary>Inputs of a row that are looked up at a time, and what filling panels from packed rows takes.</summary>
    private const long LineInputs = 512, FillBytes = 16 * (LineInputs + 64) + 2 * LineInputs;

    /// <summary>Scratch lies on pages.</summary>
    private const long PageBytes = 4096;

    private const long Alignment = 64;

    /// <summary>Bytes of one thread.</summary>
    public static long BytesOf(in FileHeader header, IReadOnlyList<FileLayer> layers, IReadOnlyList<FileTensor> tensors, IReadOnlyList<FileOperation> operations)
    {
        long side = header.InputSize / header.PatchSize;
        var most = Attention(side * side, header.HiddenSize / header.HeadCount);
        foreach (var layer in layers) most = Math.Max(most, Layer(layer));
        foreach (var operation in operations)
        {
            if (operation.Kind != FileOperationKind.Attention) continue;
            var output = tensors[(int)operation.Output];
            most = Math.Max(most, Attention((long)output.Height * output.Width, output.Channels / operation.Heads));
        }

        return RoundUp(most, PageBytes);
    }

    /// <summary>Keys and values of a head as panels, and a tile's scores.</summary>
    private static long Attention(long tokens, long headSize)
    {
        var (keyPanels, valuePanels) = (Parts(tokens), Parts(headSize));
        return (keyPanels * headSize + valuePanels * tokens + TileRows + TileRows * keyPanels) * PanelWidth * sizeof(float);
    }

    private static long Layer(in FileLayer layer)
    {
        var fill = layer.Format == FileFormat.Dense ? 0 : FillBytes;
        return layer.KernelSize > 0
            ? RoundUp(((layer.Inputs + PixelBlock) * PanelWidth + layer.Inputs) * sizeof(float), Alignment) + fill
            : Math.Max(Linear(layer), RoundUp(layer.Inputs * sizeof(float), Alignment) + fill);
    }

    /// <summary>In floating point: a block of weights as a panel, a task's sums, and what fills the panel. In integers: outputs that wait for their group, a panel, and the same.</summary>
    private static long Linear(in FileLayer layer)
    {
        var floats = (Math.Min(layer.Inputs, ExpandedDepth) + LinearRows) * PanelWidth * sizeof(float) + (layer.Format == FileFormat.Dense ? 0 : FillBytes);
        if (layer.ActivationGroup == 0) return floats;
        var panels = (layer.Outputs + IntegerWidth - 1) / IntegerWidth;
        var rows = Math.Max(HeldRows, 32 * panels) + panels * IntegerRows + LinearRows;
        var panel = Math.Max((layer.ActivationGroup + 3) / 4 * 4 * IntegerWidth, (panels * IntegerWidth + Lanes) * sizeof(float));
        return Math.Max(floats, rows * IntegerWidth * sizeof(float) + RoundUp(panel, Alignment) + FillBytes);
    }

    private static long Parts(long whole) => (whole + PanelWidth - 1) / PanelWidth;

    private static long RoundUp(long value, long unit) => (value + unit - 1) / unit * unit;
}

using DiTRuntime.Exporter.Files;

namespace DiTRuntime.Exporter.Planning;

/// <summary>Scratch of a thread of the exported runtime, with the widest set of instructions; the others need no more.</summary>
/// <remarks>Mirrors <c>scratch_bytes</c> in runtime/kernels.inc and what it asks.</remarks>
internal static class ThreadScratch
{
    /// <summary>Columns of a panel and rows of a tile with sixteen lanes.</summary>
    private const long PanelWidth = 48, TileRows = 8;

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

    /// <summary>A panel of the whole depth, and what fills it.</summary>
    private static long Linear(in FileLayer layer) => RoundUp(layer.Inputs * PanelWidth * sizeof(float), Alignment) + FillBytes;

    private static long Parts(long whole) => (whole + PanelWidth - 1) / PanelWidth;

    private static long RoundUp(long value, long unit) => (value + unit - 1) / unit * unit;
}

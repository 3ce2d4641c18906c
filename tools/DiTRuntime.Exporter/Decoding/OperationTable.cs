using DiTRuntime.Exporter.Files;

namespace DiTRuntime.Exporter.Decoding;

/// <summary>A decoder's operations as the file has them; their layers follow those of the model.</summary>
internal static class OperationTable
{
    /// <summary>Writes the operations down.</summary>
    /// <param name="operations">The trace.</param>
    /// <param name="layers">Takes their weights.</param>
    /// <param name="sections">Takes scales and shifts of norms.</param>
    public static FileOperation[] Of(IReadOnlyList<TracedOperation> operations, LayerTable layers, SectionList sections) =>
        [.. operations.Select(operation => Of(operation, layers, sections))];

    private static FileOperation Of(TracedOperation operation, LayerTable layers, SectionList sections)
    {
        var file = new FileOperation { Input = operation.Input, Output = operation.Output, Residual = FileHeader.None, Layer = FileHeader.None };
        switch (operation)
        {
            case TracedConvolve convolve:
                file.Kind = FileOperationKind.Convolution;
                file.Layer = layers.Add(convolve.Weight);
                file.Activation = (uint)convolve.Activation;
                file.Residual = convolve.Residual ?? FileHeader.None;
                file.Upsamples = convolve.Upsamples ? 1u : 0;
                break;
            case TracedProduct product:
                file.Kind = FileOperationKind.Linear;
                file.Layer = layers.Add(product.Weight);
                file.Activation = (uint)product.Activation;
                if (product.Adds) file.Residual = product.Output;
                break;
            case TracedNorm norm:
                file.Kind = FileOperationKind.GroupNorm;
                file.Activation = (uint)norm.Options.Activation;
                file.Groups = (uint)norm.Options.GroupCount;
                file.Epsilon = norm.Options.Epsilon;
                file.Gamma = sections.Add(norm.Gamma);
                file.Beta = sections.Add(norm.Beta);
                break;
            case TracedAttention attention:
                file.Kind = FileOperationKind.Attention;
                file.Heads = (uint)attention.HeadCount;
                break;
            default:
                throw new InvalidOperationException($"an operation that the file has no word for: {operation}");
        }

        return file;
    }
}

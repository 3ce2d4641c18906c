using DiTRuntime.Backends;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Search;

/// <summary>
/// Makes the model of a candidate: weights rounded to nearest, which takes a fraction of GPTQ's time and ranks group sizes as well, dynamic activations; it runs as the
/// packed file would.
/// </summary>
/// <param name="open">Opens the model.</param>
/// <param name="backend">Where candidates run.</param>
/// <param name="settings">Bits, activations, and the group size of layers that are not searched over.</param>
/// <param name="threadCount">Threads that quantize, or 0 for one per processor.</param>
public sealed class CandidateModels(Func<DiTWeights> open, IDiTBackend backend, QuantizeSettings settings, int threadCount) : IDisposable
{
    private readonly Workers _workers = new(threadCount);

    /// <summary>Where candidates run.</summary>
    public IDiTBackend Backend => backend;

    /// <summary>The layers whose groups are searched for: qkv, proj, fc1 and fc2 of every block.</summary>
    public static IReadOnlyList<SearchedLayer> Layers(DiTWeights weights) =>
        [.. weights.Blocks.SelectMany(BlockLayers.ThatReadTokens).Select(layer => new SearchedLayer(layer.Name, layer.Inputs))];

    /// <summary>The model in floating point.</summary>
    public DiTModel MakeReference() => new(open(), backend, settings.Compatibility);

    /// <summary>The model with some group sizes.</summary>
    /// <param name="groups">Group sizes by layer.</param>
    public DiTModel Make(IReadOnlyDictionary<string, int> groups)
    {
        var source = open();
        try
        {
            var candidate = settings with { Groups = groups };
            var plan = candidate.Plan(source.Config);
            var packer = new LayerPacker(_workers, candidate.Range);
            LinearWeight Pack(LinearWeight weight)
            {
                var format = plan.FormatOf(weight.Name);
                var activations = format.Activations == ActivationMode.Float ? null : new ActivationFormat(format.ActivationGroup);
                return packer.Pack(weight, format.Weights!, activations).Layer.Weight;
            }

            return new DiTModel(source.WithBlocks([.. source.Blocks.Select(b => new BlockWeights(Pack(b.Modulation), Pack(b.Qkv), Pack(b.Projection), Pack(b.Fc1), Pack(b.Fc2)))]), backend, settings.Compatibility);
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _workers.Dispose();
}

using System.Globalization;
using DiTRuntime.Exporter.Decoding;
using DiTRuntime.Exporter.Files;
using DiTRuntime.Exporter.Folder;
using DiTRuntime.Models;

namespace DiTRuntime.Exporter.Planning;

/// <summary>More memory than a limit allows (exit code 4).</summary>
public sealed class ExportMemoryException(string message) : DiTException(message)
{
    /// <inheritdoc/>
    public override ExitCode ExitCode => ExitCode.OutOfMemory;
}

/// <summary>A weights file, laid out so that the runtime stays below a limit.</summary>
internal sealed class PlannedFile : IWeightsExport
{
    /// <summary>The modulation table is covered in windows of steps where all of them would take more.</summary>
    private const long TableBytes = 64L << 20;

    /// <summary>From fast to small.</summary>
    private static readonly int[] s_tileSides = [64, 32, 16];

    private readonly DecoderTrace _decoder;

    private PlannedFile(DecoderTrace decoder, WeightsFile file, EdgeMemoryPlan memory) => (_decoder, File, Memory) = (decoder, file, memory);

    /// <summary>The file.</summary>
    public WeightsFile File { get; }

    /// <summary>What it makes the runtime hold.</summary>
    public EdgeMemoryPlan Memory { get; }

    /// <inheritdoc/>
    public string? Decoder => _decoder.Kind == FileDecoder.Pixels ? null : _decoder.Description;

    /// <inheritdoc/>
    public int TileSide => _decoder.TileSide;

    /// <summary>The fastest plan that stays below the limit.</summary>
    /// <exception cref="ExportMemoryException">Even the smallest does not; says what it needs.</exception>
    /// <exception cref="UsageException">The batch has more values than a buffer can hold.</exception>
    public static PlannedFile Of(ExportSource source, ExportSettings settings, DiTWeights weights, ExportRun run)
    {
        CheckBatch(settings.Batch, weights.Config);
        EdgeMemoryPlan? smallest = null;
        foreach (var side in TileSides(source, weights.Config))
        {
            var decoder = DecoderTrace.Of(source.DecoderPath, weights.Config, side);
            try
            {
                // Classes of a batch, and none.
                var conditions = Math.Min(settings.Batch, weights.Config.ClassCount) + 1;
                var laidOut = WeightsFile.Of(weights, decoder, settings.Compatibility, run.FilePlan(settings.Batch, conditions));
                foreach (var steps in WindowSteps(run.Plan.Steps.Length, conditions * ModulationTable.RowBytes(weights.Config)))
                {
                    var memory = EdgeMemoryPlan.Of(laidOut, steps * conditions, settings.Threads);
                    if (memory.MemoryBytes <= (settings.MaxMemoryBytes ?? long.MaxValue))
                        return new PlannedFile(decoder, WeightsFile.Of(weights, decoder, settings.Compatibility, run.FilePlan(settings.Batch, memory.TableRows)), memory);
                    if (smallest is null || memory.MemoryBytes < smallest.MemoryBytes) smallest = memory;
                }
            }
            catch
            {
                decoder.Dispose();
                throw;
            }

            decoder.Dispose();
        }

        throw new ExportMemoryException(string.Create(CultureInfo.InvariantCulture,
            $"--max-memory {settings.MaxMemoryBytes / 1e6:0.##}MB: at least {smallest!.MemoryBytes / 1e6:0.##} MB are needed beside the weights (tiles of {smallest.TileSide}, {smallest.TableRows} table rows, {smallest.Threads} threads); fewer --threads or a smaller --batch need less"));
    }

    /// <inheritdoc/>
    public IMemoryPlan Write(string folder, IProgress<double>? progress, CancellationToken cancellation)
    {
        File.Write(Path.Combine(folder, FolderWriter.WeightsName), progress, cancellation);
        return Memory;
    }

    /// <inheritdoc/>
    public void Dispose() => _decoder.Dispose();

    /// <summary>The decoder's own side, then smaller ones.</summary>
    private static IEnumerable<int> TileSides(ExportSource source, DiTConfig config) => source.DecoderPath is null
        ? [config.InputSize]
        : s_tileSides.Where((side, i) => i == 0 || side < config.InputSize);

    /// <summary>Steps that the table covers at once: as many windows of equal length as it takes, then more and more of them.</summary>
    private static IEnumerable<int> WindowSteps(int steps, long stepBytes)
    {
        var most = (int)Math.Clamp(TableBytes / stepBytes, 1, steps);
        for (var windows = (steps + most - 1) / most; ; windows *= 2)
        {
            var length = Math.Max(1, (steps + windows - 1) / windows);
            yield return length;
            if (length == 1) yield break;
        }
    }

    /// <summary>Buffers hold fewer than 2³¹ values; the runtime makes room for the unguided twin of every image.</summary>
    private static void CheckBatch(int batch, DiTConfig config)
    {
        var most = int.MaxValue / (2L * config.TokenCount * Math.Max(config.MlpSize, 3 * config.HiddenSize));
        if (batch > most) throw new UsageException($"--batch {batch}: {batch} images of {config.TokenCount} tokens are too many at once; at most {most} can be");
    }
}

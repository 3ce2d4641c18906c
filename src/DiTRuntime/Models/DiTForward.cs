using DiTRuntime.Backends;
using DiTRuntime.Sampling;

namespace DiTRuntime.Models;

/// <summary>Single forward passes on given inputs, for checking a model against anything else.</summary>
/// <param name="model">The model.</param>
public sealed class DiTForward(DiTModel model)
{
    /// <summary>What the model predicts.</summary>
    /// <param name="latents">x [B, C, S, S].</param>
    /// <param name="timesteps">t [B], original indices 0 to 999.</param>
    /// <param name="labels">y [B]; <see cref="DiTConfig.NullClass"/> for none.</param>
    /// <returns>[B, Cout, S, S].</returns>
    /// <exception cref="UsageException">A class that the model does not have.</exception>
    public float[] Raw(ReadOnlySpan<float> latents, ReadOnlySpan<int> timesteps, ReadOnlySpan<int> labels)
    {
        using var state = Predict(latents, timesteps, labels, guided: false);
        var prediction = new float[labels.Length * PredictionLength];
        model.Backend.Download(state.Prediction, prediction);
        return prediction;
    }

    /// <summary>
    /// What the published <c>forward_with_cfg</c> returns in its first half: ε = u + s(c − u) on the guided channels
    /// (the first three, or all under <see cref="Compatibility.Diffusers"/>), the conditional prediction on the others.
    /// </summary>
    /// <param name="latents">x [B, C, S, S].</param>
    /// <param name="timesteps">t [B], original indices 0 to 999.</param>
    /// <param name="labels">y [B].</param>
    /// <param name="guidanceScale">s.</param>
    /// <returns>[B, Cout, S, S].</returns>
    /// <exception cref="UsageException">A class that the model does not have.</exception>
    public float[] Guided(ReadOnlySpan<float> latents, ReadOnlySpan<int> timesteps, ReadOnlySpan<int> labels, float guidanceScale)
    {
        using var state = Predict(latents, timesteps, labels, guided: true);
        var count = labels.Length;
        var prediction = new float[2 * count * PredictionLength];
        model.Backend.Download(state.Prediction, prediction);

        // An update that keeps nothing of x and takes ε once leaves the guided noise in the latents' place.
        var config = model.Config;
        var guidedChannels = model.Compatibility.GuidedChannels(config);
        var updates = new SampleUpdate[count];
        for (var i = 0; i < count; i++)
            updates[i] = new SampleUpdate(i, 2 * i, 2 * i + 1, guidanceScale, guidedChannels, new UpdateCoefficients(Latent: 0, Prediction: 1));
        using var table = model.Backend.Prepare(updates, count);
        model.Backend.GuideAndUpdate(state.Prediction, table, noise: null, state.Latents);
        var noise = new float[count * config.LatentCount];
        model.Backend.Download(state.Latents, noise);

        var output = new float[count * PredictionLength];
        for (var i = 0; i < count; i++)
        {
            var image = output.AsSpan(i * PredictionLength, PredictionLength);
            prediction.AsSpan(2 * i * PredictionLength, PredictionLength).CopyTo(image);
            noise.AsSpan(i * config.LatentCount, config.LatentCount).CopyTo(image);
        }

        return output;
    }

    private int PredictionLength => model.Config.OutChannels * model.Config.InputSize * model.Config.InputSize;

    /// <summary>Runs the model; guided images take two neighbouring rows, with the class and with the null class.</summary>
    private DiTState Predict(ReadOnlySpan<float> latents, ReadOnlySpan<int> timesteps, ReadOnlySpan<int> labels, bool guided)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(latents.Length, labels.Length * model.Config.LatentCount);
        ArgumentOutOfRangeException.ThrowIfNotEqual(timesteps.Length, labels.Length);
        var rowsPerImage = guided ? 2 : 1;
        var rowCount = rowsPerImage * labels.Length;
        int[] images = new int[rowCount], rows = new int[rowCount], rowTimesteps = new int[rowCount], rowLabels = new int[rowCount];
        for (var row = 0; row < rowCount; row++)
        {
            images[row] = row / rowsPerImage;
            rows[row] = row;
            rowTimesteps[row] = timesteps[images[row]];
            rowLabels[row] = row % rowsPerImage == 1 ? model.Config.NullClass : labels[images[row]];
        }

        var backend = model.Backend;
        using var table = new ModulationTable(backend, model.Config, rowCount);
        model.Conditioner.Fill(rowTimesteps, rowLabels, table);
        var state = model.CreateState(labels.Length, rowCount);
        backend.Upload(latents, state.Latents);
        backend.Upload<int>(images, state.ImageOfSample);
        backend.Upload<int>(rows, state.ModulationRowOfSample);
        model.Forward(state, table);
        return state;
    }
}

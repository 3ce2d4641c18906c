using DiTRuntime.Imaging;

namespace DiTRuntime.Calibration.Evaluation;

/// <summary>Turns images into the vectors that image quality is measured on.</summary>
public interface IFeatureExtractor : IDisposable
{
    /// <summary>What it is, for people.</summary>
    string Description { get; }

    /// <summary>F: length of an image's feature vector.</summary>
    int FeatureCount { get; }

    /// <summary>Length of an image's spatial feature vector; 0 where there is none.</summary>
    int SpatialCount { get; }

    /// <summary>C: classes it tells apart; 0 where it tells none.</summary>
    int ClassCount { get; }

    /// <summary>Extracts the features of some images.</summary>
    /// <param name="images">8-bit images of one size.</param>
    /// <param name="features">[N, F].</param>
    /// <param name="spatial">[N, spatial].</param>
    /// <param name="logits">[N, C]: class scores before the softmax.</param>
    /// <exception cref="UsageException">The images are of a size that it does not take.</exception>
    void Extract(IReadOnlyList<Image> images, Span<float> features, Span<float> spatial, Span<float> logits);
}

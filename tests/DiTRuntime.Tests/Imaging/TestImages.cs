using DiTRuntime.Imaging;

namespace DiTRuntime.Tests.Imaging;

/// <summary>Images for the tests, and a folder that goes away with its test.</summary>
internal static class TestImages
{
    /// <summary>Smooth in one half, noise in the other, so that every PNG filter has rows that suit it.</summary>
    public static Image Make(int width, int height, int channels, int seed = 1)
    {
        var random = new Random(seed);
        var pixels = new byte[width * height * channels];
        for (var y = 0; y < height; y++)
            for (var x = 0; x < width; x++)
                for (var c = 0; c < channels; c++)
                    pixels[(y * width + x) * channels + c] = (byte)(y < height / 2 ? x * 3 + y * (c + 1) : random.Next(256));
        return new Image(width, height, channels, pixels);
    }
}

internal sealed class TemporaryFolder : IDisposable
{
    public TemporaryFolder() => Path = Directory.CreateTempSubdirectory("dit-test").FullName;

    public string Path { get; }

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}

using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace DiTRuntime.Checkpoints;

/// <summary>
/// A short fingerprint of a model, for the record in an image: quick for any size of file, not proof against forgery. It covers every tensor's
/// name, type and shape, and four evenly spaced windows of 1 KB of its elements; the container does not matter: the same
/// contiguous tensors have the same one in a .pt and in safetensors.
/// </summary>
public static class ContentHash
{
    private const int Digits = 10;
    private const int Windows = 4;
    private const int WindowBytes = 1024;

    /// <summary>The fingerprint of a model file or folder.</summary>
    /// <exception cref="InvalidFileException">The file cannot be opened.</exception>
    public static string Of(string path)
    {
        using var checkpoint = Checkpoint.Open(path);
        return Of(checkpoint);
    }

    /// <summary>The fingerprint of an open model: ten lower-case hexadecimal digits of a SHA-256.</summary>
    public static string Of(ICheckpoint checkpoint)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var tensor in checkpoint.Tensors.OrderBy(t => t.Name, StringComparer.Ordinal))
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"{tensor.Name} {tensor.Type} {tensor.ShapeText}\n"));
            if (tensor.Count > 0) AppendElements(hash, tensor);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset())[..Digits];
    }

    private static void AppendElements(IncrementalHash hash, CheckpointTensor tensor)
    {
        var bytes = tensor.IsContiguous ? tensor.Bytes : MemoryMarshal.AsBytes<float>(tensor.ToArray());
        var length = Math.Min(WindowBytes, bytes.Length);
        for (var i = 0; i < Windows; i++)
        {
            var start = (int)((long)(bytes.Length - length) * i / (Windows - 1));
            hash.AppendData(bytes.Slice(start, length));
        }
    }
}

using System.Globalization;

namespace DiTRuntime.Cuda.Compilation;

/// <summary>A kernel to be compiled: a source file and the constants that specialise it.</summary>
/// <remarks>Two with the same text are the same kernel.</remarks>
public sealed class KernelSpec : IEquatable<KernelSpec>
{
    /// <param name="file">Source below kernels/: "gemm/gemm.cu".</param>
    /// <param name="entry">Name of the kernel in it.</param>
    /// <param name="constants">Names and values for -D.</param>
    public KernelSpec(string file, string entry, params ReadOnlySpan<(string Name, int Value)> constants)
    {
        File = file;
        Entry = entry;
        var options = new string[constants.Length];
        for (var i = 0; i < options.Length; i++)
            options[i] = string.Create(CultureInfo.InvariantCulture, $"{constants[i].Name}={constants[i].Value}");
        Constants = options;
        Text = $"{file}:{entry} {string.Join(' ', options)}".TrimEnd();
    }

    /// <summary>Source below kernels/.</summary>
    public string File { get; }

    /// <summary>Name of the kernel in it.</summary>
    public string Entry { get; }

    /// <summary>"NAME=value" each, for -D.</summary>
    public IReadOnlyList<string> Constants { get; }

    /// <summary>All of it on one line: identity, and what listings and errors show.</summary>
    public string Text { get; }

    /// <inheritdoc/>
    public bool Equals(KernelSpec? other) => other is not null && Text == other.Text;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as KernelSpec);

    /// <inheritdoc/>
    public override int GetHashCode() => Text.GetHashCode(StringComparison.Ordinal);

    /// <inheritdoc/>
    public override string ToString() => Text;
}

using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace DiTRuntime.Exporter.Files;

/// <summary>Mirrors <c>dit_section</c> in runtime/file.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct FileSection
{
    public ulong Offset;
    public ulong Bytes;
}

/// <summary>Mirrors <c>dit_target</c>.</summary>
internal enum FileTarget : uint
{
    C = 0,
    Cuda = 1,
}

/// <summary>Mirrors <c>dit_decoder_kind</c>.</summary>
internal enum FileDecoder : uint
{
    Pixels = 0,
    Kl = 1,
    Tiny = 2,
}

/// <summary>Mirrors <c>dit_format</c>.</summary>
internal enum FileFormat : uint
{
    Dense = 0,
    Group = 1,
    Codebook = 2,
    Product = 3,
}

/// <summary>Mirrors <c>dit_element</c>.</summary>
internal enum FileElement : uint
{
    F32 = 0,
    F16 = 1,
    BF16 = 2,
}

/// <summary>Mirrors <c>dit_operation_kind</c>.</summary>
internal enum FileOperationKind : uint
{
    Convolution = 0,
    GroupNorm = 1,
    Linear = 2,
    Attention = 3,
}

/// <summary>Mirrors <c>dit_file_header</c> in runtime/file.h, where every field is explained.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct FileHeader
{
    /// <summary>The first eight bytes, as a little-endian number.</summary>
    public const ulong FileMagic = 0x3154_5058_4554_4944;

    /// <summary>The layout's version.</summary>
    public const uint FileVersion = 1;

    /// <summary>What stands where a number of a tensor or a layer is absent.</summary>
    public const uint None = uint.MaxValue;

    public ulong Magic;
    public uint Version;
    public uint HeaderBytes;
    public ulong FileBytes;
    public FileTarget Target;

    public uint InputSize;
    public uint PatchSize;
    public uint InChannels;
    public uint OutChannels;
    public uint HiddenSize;
    public uint Depth;
    public uint HeadCount;
    public uint MlpSize;
    public uint ClassCount;
    public uint FrequencySize;

    public uint SingleSchedule;
    public uint GuidedChannels;
    public uint RoundNearest;
    public float AttentionEpsilon;
    public float MlpEpsilon;
    public float FinalEpsilon;

    public uint MaxBatch;
    public uint DefaultSteps;
    public uint TableRows;
    public uint DefaultSampler;
    public uint DefaultSpacing;
    public float DefaultGuidance;

    public FileDecoder DecoderKind;
    public uint TileSize;
    public uint Upscale;
    public uint ImageChannels;
    public float ScalingFactor;
    public float ShiftFactor;
    public uint DecoderInput;
    public uint DecoderOutput;

    public uint LayerCount;
    public uint TensorCount;
    public uint OperationCount;
    public uint Reserved;
    public FileSection Layers;
    public FileSection Positions;
    public FileSection Frequencies;
    public FileSection Tensors;
    public FileSection Operations;
    public FileSection ClassNames;
    public FileSection Plan;
}

/// <summary>The name of a layer, cut to what fits, ended by a zero.</summary>
[InlineArray(Length)]
internal struct FileName
{
    /// <summary>Bytes, the zero included.</summary>
    public const int Length = 64;

    private byte _first;

    /// <summary>Writes a name.</summary>
    public static FileName Of(string text)
    {
        var name = default(FileName);
        Span<byte> bytes = name;
        System.Text.Encoding.ASCII.GetBytes(text.AsSpan(0, Math.Min(text.Length, Length - 1)), bytes);
        return name;
    }
}

/// <summary>Mirrors <c>dit_file_layer</c> in runtime/file.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct FileLayer
{
    public FileName Name;
    public uint Outputs;
    public uint Inputs;
    public uint KernelSize;
    public FileFormat Format;
    public FileElement Element;
    public uint Bits;
    public uint GroupSize;
    public uint ActivationGroup;
    public uint VectorLength;
    public uint CodebookSize;
    public uint Parts;
    public uint PoolSize;
    public uint WideTable;
    public float IntegerScale;
    public FileSection Weight;
    public FileSection Scales;
    public FileSection Zeros;
    public FileSection Codebook;
    public FileSection Table;
    public FileSection Bias;
    public FileSection StaticScales;
    public FileSection StaticZeros;
}

/// <summary>Mirrors <c>dit_file_tensor</c> in runtime/file.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct FileTensor
{
    public uint Height;
    public uint Width;
    public uint Channels;
    public uint Reserved;
}

/// <summary>Mirrors <c>dit_file_operation</c> in runtime/file.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct FileOperation
{
    public FileOperationKind Kind;
    public uint Input;
    public uint Output;
    public uint Residual;
    public uint Layer;
    public uint Activation;
    public uint Upsamples;
    public uint Groups;
    public uint Heads;
    public float Epsilon;
    public FileSection Gamma;
    public FileSection Beta;
}

/// <summary>Mirrors <c>dit_golden_header</c> in runtime/file.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct GoldenHeader
{
    /// <summary>The first eight bytes, as a little-endian number.</summary>
    public const ulong FileMagic = 0x3144_4c4f_4754_4944;

    public ulong Magic;
    public uint Version;
    public uint HeaderBytes;
    public ulong FileBytes;
    public ulong Seed;
    public Pair Labels;
    public uint Steps;
    public uint Sampler;
    public uint Spacing;
    public float Eta;
    public float GuidanceScale;
    public Pair Timesteps;
    public Pair PassLabels;
    public uint StageCount;
    public uint TokenStride;
    public float StageTolerance;
    public float LatentTolerance;
    public uint PixelTolerance;
    public uint Reserved;
    public FileSection PassLatents;
    public FileSection Stages;
    public FileSection Prediction;
    public FileSection Latents;
    public FileSection Pixels;
}

/// <summary>Two whole numbers.</summary>
[InlineArray(2)]
internal struct Pair
{
    private int _first;

    /// <summary>Makes a pair.</summary>
    public static Pair Of(int first, int second)
    {
        var pair = default(Pair);
        (pair[0], pair[1]) = (first, second);
        return pair;
    }
}

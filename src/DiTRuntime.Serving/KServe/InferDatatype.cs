namespace DiTRuntime.Serving.KServe;

/// <summary>The KServe datatypes that this service takes or gives.</summary>
internal enum InferDatatype
{
    /// <summary>Pixels.</summary>
    UInt8,

    /// <summary>Classes and counts.</summary>
    Int32,

    /// <summary>Seeds.</summary>
    Int64,

    /// <summary>Latents and scales.</summary>
    Fp32,

    /// <summary>Texts and files; each has its length in front, as 4 bytes.</summary>
    Bytes,
}

/// <summary>Names and sizes of the datatypes.</summary>
internal static class InferDatatypes
{
    /// <summary>The protocol's name.</summary>
    public static string Name(this InferDatatype type) => type switch
    {
        InferDatatype.UInt8 => "UINT8",
        InferDatatype.Int32 => "INT32",
        InferDatatype.Int64 => "INT64",
        InferDatatype.Fp32 => "FP32",
        _ => "BYTES",
    };

    /// <summary>Bytes of an element; of <see cref="InferDatatype.Bytes"/> the least, its length.</summary>
    public static int ByteSize(this InferDatatype type) => type switch
    {
        InferDatatype.UInt8 => 1,
        InferDatatype.Int64 => 8,
        _ => 4,
    };

    /// <summary>The datatype of an input, or null where no input has it.</summary>
    public static InferDatatype? OfInput(string name) => name switch
    {
        "INT32" => InferDatatype.Int32,
        "INT64" => InferDatatype.Int64,
        "FP32" => InferDatatype.Fp32,
        "BYTES" => InferDatatype.Bytes,
        _ => null,
    };
}

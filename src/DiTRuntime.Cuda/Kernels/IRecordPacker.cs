namespace DiTRuntime.Cuda.Kernels;

/// <summary>Packs sixteen rows of a weight into a record (kernels/abi/weight.h). One thread's.</summary>
internal interface IRecordPacker
{
    /// <summary>Packs the rows from <paramref name="firstRow"/> on; those beyond N are zero.</summary>
    void Pack(int firstRow, Span<byte> record);
}

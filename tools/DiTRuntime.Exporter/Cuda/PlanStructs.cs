using System.Runtime.InteropServices;
using DiTRuntime.Exporter.Files;

namespace DiTRuntime.Exporter.Cuda;

/// <summary>Mirrors <c>dit_plan_place</c> in runtime/cuda_plan.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PlanPlace
{
    public ulong Offset;
    public ulong Bytes;
    public uint Buffer;
    public uint Reserved;

    /// <summary>No place.</summary>
    public static PlanPlace None => new() { Buffer = FileHeader.None };
}

/// <summary>Mirrors <c>dit_plan_buffer</c> in runtime/cuda_plan.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PlanBuffer
{
    public ulong Bytes;
    public FileSection Contents;
    public uint Shape;
    public uint Reserved;
}

/// <summary>Mirrors <c>dit_plan_kernel</c> in runtime/cuda_plan.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PlanKernel
{
    public FileName Entry;
    public FileSection Image;
    public uint SharedBytes;
    public uint ArgumentBytes;
}

/// <summary>Mirrors <c>dit_plan_command_kind</c>.</summary>
internal enum PlanCommandKind : uint
{
    Launch = 0,
    Stage = 1,
}

/// <summary>Mirrors <c>dit_plan_command</c> in runtime/cuda_plan.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PlanCommand
{
    public PlanCommandKind Kind;
    public uint Kernel;
    public uint GridX;
    public uint GridY;
    public uint GridZ;
    public uint Threads;
    public uint SharedBytes;
    public uint FirstPointer;
    public uint PointerCount;
    public uint Reserved;
    public ulong ArgumentOffset;
}

/// <summary>Mirrors <c>dit_plan_pointer</c> in runtime/cuda_plan.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PlanPointer
{
    public ulong Offset;
    public uint Buffer;
    public uint ArgumentOffset;
}

/// <summary>Mirrors <c>dit_plan_range</c> in runtime/cuda_plan.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PlanRange
{
    public uint First;
    public uint Count;
}

/// <summary>Mirrors <c>dit_plan_shape_kind</c>.</summary>
internal enum PlanShapeKind : uint
{
    Sampling = 0,
    Pass = 1,
}

/// <summary>Mirrors <c>dit_plan_shape</c> in runtime/cuda_plan.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PlanShape
{
    public PlanShapeKind Kind;
    public uint Images;
    public uint Samples;
    public uint Conditions;
    public uint WindowSteps;
    public uint StepCapacity;
    public PlanRange Fill;
    public PlanRange Step;
    public PlanPlace Timesteps;
    public PlanPlace Labels;
    public PlanPlace RowOfSample;
    public PlanPlace Updates;
    public PlanPlace Counter;
    public PlanPlace Latents;
    public PlanPlace Noise;
    public PlanPlace Tokens;
    public PlanPlace Prediction;
    public uint TokenStride;
    public uint Reserved;
}

/// <summary>Mirrors <c>dit_plan</c> in runtime/cuda_plan.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PlanHeader
{
    /// <summary>The layout's version.</summary>
    public const uint PlanVersion = 1;

    public uint Version;
    public uint PlanBytes;
    public uint Architecture;
    public uint IsSpecific;
    public uint BufferCount;
    public uint KernelCount;
    public uint CommandCount;
    public uint PointerCount;
    public uint ShapeCount;
    public uint InputStride;
    public uint OutputStride;
    public uint Reserved;
    public PlanRange Decode;
    public PlanPlace DecoderInput;
    public PlanPlace DecoderOutput;
    public FileSection Buffers;
    public FileSection Kernels;
    public FileSection Commands;
    public FileSection Pointers;
    public FileSection Shapes;
    public FileSection Arguments;
}

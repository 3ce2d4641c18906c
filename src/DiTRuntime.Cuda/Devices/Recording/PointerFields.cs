using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace DiTRuntime.Cuda.Devices;

/// <summary>Where the pointers of an argument struct lie, found by its type.</summary>
internal static class PointerFields
{
    /// <summary>Byte offsets of all <see cref="DevicePointer"/>s in a struct, ascending, those of nested structs included.</summary>
    public static int[] Of<T>()
        where T : unmanaged => Cache<T>.Offsets;

    /// <summary>Byte offsets of what may be pointers in bytes of unknown type: aligned words that lie in a buffer.</summary>
    public static int[] Guess(ReadOnlySpan<byte> arguments, Func<ulong, RecordedPlace> place)
    {
        var offsets = new List<int>();
        for (var at = 0; at + sizeof(ulong) <= arguments.Length; at += sizeof(ulong))
        {
            if (place(MemoryMarshal.Read<ulong>(arguments[at..])).Buffer >= 0) offsets.Add(at);
        }

        return [.. offsets];
    }

    // Sequential layout, as in C: each field at the next multiple of its alignment. Marshal.OffsetOf knows no inline arrays.
    private static void Find(Type type, int start, List<int> offsets)
    {
        if (type == typeof(DevicePointer)) offsets.Add(start);
        if (type == typeof(DevicePointer) || type.IsPrimitive || type.IsEnum) return;
        var count = type.GetCustomAttribute<InlineArrayAttribute>()?.Length ?? 1;
        var at = start;
        foreach (var field in Enumerable.Repeat(Fields(type), count).SelectMany(fields => fields))
        {
            var alignment = Alignment(field.FieldType);
            at = (at + alignment - 1) / alignment * alignment;
            Find(field.FieldType, at, offsets);
            at += RuntimeHelpers.SizeOf(field.FieldType.TypeHandle);
        }
    }

    private static int Alignment(Type type) =>
        type.IsPrimitive || type.IsEnum ? RuntimeHelpers.SizeOf(type.TypeHandle) : Fields(type).Max(field => Alignment(field.FieldType));

    // In the order of declaration.
    [UnconditionalSuppressMessage("Trimming", "IL2070", Justification = "Trimming keeps every field of a struct whose layout is sequential: without one, the others would move.")]
    private static IEnumerable<FieldInfo> Fields(Type type) =>
        type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic).OrderBy(field => field.MetadataToken);

    private static class Cache<T>
        where T : unmanaged
    {
        public static readonly int[] Offsets = Compute();

        private static int[] Compute()
        {
            var offsets = new List<int>();
            Find(typeof(T), 0, offsets);
            return [.. offsets];
        }
    }
}

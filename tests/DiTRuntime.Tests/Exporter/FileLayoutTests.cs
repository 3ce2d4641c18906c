using System.Globalization;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.RegularExpressions;
using DiTRuntime.Backends;
using DiTRuntime.Exporter.Files;
using DiTRuntime.Tests.Checkpoints;
using DiTRuntime.Tests.Cuda;

namespace DiTRuntime.Tests.Exporter;

/// <summary>The structs that are written are those of runtime/file.h, field by field, as a C compiler lays them out.</summary>
[TestFixture]
internal sealed partial class FileLayoutTests
{
    private static readonly (string C, Type Type)[] s_mirrors =
    [
        ("dit_section", typeof(FileSection)),
        ("dit_file_header", typeof(FileHeader)),
        ("dit_file_layer", typeof(FileLayer)),
        ("dit_file_tensor", typeof(FileTensor)),
        ("dit_file_operation", typeof(FileOperation)),
        ("dit_golden_header", typeof(GoldenHeader)),
    ];

    private static string Header => Path.Combine(TestFiles.Root, "tools/DiTRuntime.Exporter/runtime/file.h");

    [Test]
    public void Every_struct_of_the_file_has_its_mirror()
    {
        var declared = CStruct().Matches(File.ReadAllText(Header)).Select(match => match.Groups[1].Value);
        Assert.That(s_mirrors.Select(mirror => mirror.C), Is.EquivalentTo(declared));
    }

    [Test]
    public void Sizes_and_offsets_are_the_compilers()
    {
        using var folder = new TestFolder();
        var program = folder["layout"];
        HostC.Compile(folder.Write("layout.c", Program()), program, "-I", Path.GetDirectoryName(Header)!);
        var (code, text) = HostC.Run(program);
        Assert.That(code, Is.Zero, text);
        Assert.That(text.Split('\n', StringSplitOptions.RemoveEmptyEntries), Is.EqualTo(s_mirrors.SelectMany(Expected).Concat(Constants())));
    }

    /// <summary>A struct's size and the places of its fields, as <see cref="Printing"/> prints what the compiler makes of it.</summary>
    internal static IEnumerable<string> Expected((string C, Type Type) mirror)
    {
        yield return $"{mirror.C}: {RuntimeHelpers.SizeOf(mirror.Type.TypeHandle)} bytes";
        var (offset, alignment) = (0, 1);
        foreach (var field in Fields(mirror.Type))
        {
            // Sequential structs of naturally aligned fields: what a C compiler does as well.
            var (size, unit) = (RuntimeHelpers.SizeOf(field.FieldType.TypeHandle), Alignment(field.FieldType));
            offset = (offset + unit - 1) / unit * unit;
            alignment = Math.Max(alignment, unit);
            yield return $"{mirror.C}.{Snake(field.Name)}: {size} bytes at {offset}";
            offset += size;
        }

        Assert.That(RuntimeHelpers.SizeOf(mirror.Type.TypeHandle), Is.EqualTo((offset + alignment - 1) / alignment * alignment), mirror.C);
    }

    private static IEnumerable<string> Constants() =>
    [
        $"magic {FileHeader.FileMagic} {GoldenHeader.FileMagic}, version {FileHeader.FileVersion}, none {FileHeader.None}",
        string.Join(' ', Values<FileTarget>(), Values<FileDecoder>(), Values<FileFormat>(), Values<FileElement>(), Values<Activation>(), Values<FileOperationKind>()),
    ];

    private static string Values<T>()
        where T : struct, Enum => string.Join(' ', Enum.GetValues<T>().Select(value => Convert.ToUInt32(value, CultureInfo.InvariantCulture)));

    private static string Program()
    {
        var text = new StringBuilder("""
            #include "file.h"
            #include <stddef.h>
            #include <stdio.h>
            #include <string.h>
            #define FIELD(s, f) printf(#s "." #f ": %zu bytes at %zu\n", sizeof(((s*)0)->f), offsetof(s, f))
            static unsigned long long magic(const char* text) { unsigned long long value; memcpy(&value, text, sizeof value); return value; }
            int main(void) {

            """);
        return text.Append(Printing(s_mirrors)).Append("""
            printf("magic %llu %llu, version %u, none %u\n", magic(DIT_FILE_MAGIC), magic(DIT_GOLDEN_MAGIC), DIT_FILE_VERSION, DIT_NONE);
            printf("%d %d %d %d %d ", DIT_TARGET_C, DIT_TARGET_CUDA, DIT_DECODER_PIXELS, DIT_DECODER_KL, DIT_DECODER_TINY);
            printf("%d %d %d %d ", DIT_FORMAT_DENSE, DIT_FORMAT_GROUP, DIT_FORMAT_CODEBOOK, DIT_FORMAT_PRODUCT);
            printf("%d %d %d ", DIT_F32, DIT_F16, DIT_BF16);
            printf("%d %d %d %d ", DIT_ACT_NONE, DIT_ACT_RELU, DIT_ACT_SILU, DIT_ACT_GELU_TANH);
            printf("%d %d %d %d\n", DIT_OP_CONVOLUTION, DIT_OP_GROUP_NORM, DIT_OP_LINEAR, DIT_OP_ATTENTION);
            return 0;
            }

            """).ToString();
    }

    /// <summary>C statements that print them; the program defines FIELD.</summary>
    internal static string Printing(IEnumerable<(string C, Type Type)> mirrors)
    {
        var text = new StringBuilder();
        foreach (var (c, type) in mirrors)
        {
            text.Append(CultureInfo.InvariantCulture, $"printf(\"{c}: %zu bytes\\n\", sizeof({c}));\n");
            foreach (var field in Fields(type)) text.Append(CultureInfo.InvariantCulture, $"FIELD({c}, {Snake(field.Name)});\n");
        }

        return text.ToString();
    }

    private static int Alignment(Type type) => type.IsPrimitive || type.IsEnum
        ? RuntimeHelpers.SizeOf(type.TypeHandle)
        : type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic).Max(field => Alignment(field.FieldType));

    private static IEnumerable<FieldInfo> Fields(Type type) => type.GetFields(BindingFlags.Instance | BindingFlags.Public).OrderBy(field => field.MetadataToken);

    private static string Snake(string name) => WordStart().Replace(name, "_$0").ToLowerInvariant();

    [GeneratedRegex(@"typedef\s+struct\s+(dit_\w+)\s*\{")]
    private static partial Regex CStruct();

    [GeneratedRegex("(?<=[a-z0-9])[A-Z]")]
    private static partial Regex WordStart();
}

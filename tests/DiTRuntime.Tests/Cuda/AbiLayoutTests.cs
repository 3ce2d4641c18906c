using System.Globalization;
using System.Reflection;
using System.Reflection.Emit;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.RegularExpressions;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Tests.Checkpoints;

namespace DiTRuntime.Tests.Cuda;

/// <summary>The argument structs in C# are those of kernels/abi, field by field, as a C compiler lays them out.</summary>
[TestFixture]
internal sealed partial class AbiLayoutTests
{
    private static readonly Assembly s_assembly = typeof(IGpuDevice).Assembly;

    [Test]
    public void Every_struct_has_its_mirror()
    {
        var headers = Headers();
        var mirrors = Mirrors();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(headers.Keys.Except(mirrors.Select(mirror => mirror.C)), Is.Empty, "C structs without a C# mirror");
            Assert.That(mirrors.Select(mirror => mirror.C).Except(headers.Keys), Is.Empty, "C# mirrors of no C struct");
            Assert.That(mirrors.Select(mirror => mirror.C), Is.Unique);
            foreach (var (c, header, name, _) in mirrors)
            {
                var subject = string.Concat(c["dit_".Length..].Split('_').Select(word => char.ToUpperInvariant(word[0]) + word[1..]));
                Assert.That(name, Is.EqualTo(subject + "Arguments").Or.EqualTo("Device" + subject), c);
                if (headers.TryGetValue(c, out var declared)) Assert.That(header, Is.EqualTo(declared.Header), c);
            }
        }
    }

    [Test]
    public void Fields_have_the_same_names_in_the_same_order()
    {
        var headers = Headers();
        foreach (var (c, _, name, type) in Mirrors())
        {
            if (headers.TryGetValue(c, out var declared)) Assert.That(Fields(type).Select(field => Snake(field.Name)), Is.EqualTo(declared.Fields), $"{name} and {c}");
        }
    }

    [Test]
    public void Sizes_offsets_and_types_are_the_compilers()
    {
        var mirrors = Mirrors();
        using var folder = new TestFolder();
        var program = folder["layout"];
        HostC.Compile(folder.Write("layout.c", Program(mirrors)), program, "-I", Path.Combine(TestFiles.Root, "kernels"));
        var (code, text) = HostC.Run(program);
        Assert.That(code, Is.Zero, text);
        Assert.That(text.Split('\n', StringSplitOptions.RemoveEmptyEntries), Is.EqualTo(mirrors.SelectMany(Expected)));
    }

    private static IEnumerable<string> Expected((string C, string Header, string Name, Type Type) mirror)
    {
        yield return $"{mirror.C}: {RuntimeHelpers.SizeOf(mirror.Type.TypeHandle)} bytes";
        foreach (var field in Fields(mirror.Type))
            yield return $"{mirror.C}.{Snake(field.Name)}: {Kind(field.FieldType)} at {OffsetOf(field)}, {RuntimeHelpers.SizeOf(field.FieldType.TypeHandle)} bytes";
    }

    private static string Program(IReadOnlyList<(string C, string Header, string Name, Type Type)> mirrors)
    {
        var text = new StringBuilder("#include <stddef.h>\n#include <stdio.h>\n");
        foreach (var header in mirrors.Select(mirror => mirror.Header).Distinct().Order(StringComparer.Ordinal)) text.Append(CultureInfo.InvariantCulture, $"#include \"{header}\"\n");
        // What a value is: a number of a type, or something of its own (a pointer, a struct, an array).
        text.Append("""
            #define KIND(v) _Generic((v), s8: "s8", u8: "u8", u16: "u16", u32: "u32", s32: "s32", u64: "u64", f32: "f32", default: "own")
            #define FIELD(s, f) printf(#s "." #f ": %s at %zu, %zu bytes\n", KIND(((s*)0)->f), offsetof(s, f), sizeof(((s*)0)->f))
            int main(void) {

            """);
        foreach (var (c, _, _, type) in mirrors)
        {
            text.Append(CultureInfo.InvariantCulture, $"printf(\"{c}: %zu bytes\\n\", sizeof({c}));\n");
            foreach (var field in Fields(type)) text.Append(CultureInfo.InvariantCulture, $"FIELD({c}, {Snake(field.Name)});\n");
        }

        return text.Append("return 0; }\n").ToString();
    }

    private static string Kind(Type type) => Type.GetTypeCode(type) switch
    {
        TypeCode.SByte => "s8",
        TypeCode.Byte => "u8",
        TypeCode.UInt16 => "u16",
        TypeCode.UInt32 => "u32",
        TypeCode.Int32 => "s32",
        TypeCode.UInt64 => "u64",
        TypeCode.Single => "f32",
        _ => type == typeof(Half) ? "u16" : "own",
    };

    // Where the runtime itself puts a field; Marshal tells where it would put it for a native call.
    private static unsafe long OffsetOf(FieldInfo field)
    {
        var method = new DynamicMethod("OffsetOf", typeof(nint), [typeof(nint)], typeof(AbiLayoutTests).Module, skipVisibility: true);
        var code = method.GetILGenerator();
        code.Emit(OpCodes.Ldarg_0);
        code.Emit(OpCodes.Ldflda, field);
        code.Emit(OpCodes.Conv_I);
        code.Emit(OpCodes.Ret);
        var place = stackalloc byte[4096];
        return method.CreateDelegate<Func<nint, nint>>()((nint)place) - (nint)place;
    }

    private static IEnumerable<FieldInfo> Fields(Type type) =>
        type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic).OrderBy(field => field.MetadataToken);

    private static string Snake(string name) => WordStart().Replace(name, "_$0").ToLowerInvariant();

    private static Dictionary<string, (string Header, string[] Fields)> Headers()
    {
        var structs = new Dictionary<string, (string, string[])>();
        foreach (var file in Directory.EnumerateFiles(Path.Combine(TestFiles.Root, "kernels/abi"), "*.h"))
        {
            var text = Comment().Replace(File.ReadAllText(file), string.Empty);
            foreach (Match match in CStruct().Matches(text))
            {
                var fields = match.Groups["fields"].Value.Split([';', ','], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
                    .Select(declaration => FieldName().Match(declaration).Groups[1].Value);
                structs.Add(match.Groups["name"].Value, ("abi/" + Path.GetFileName(file), fields.ToArray()));
            }
        }

        Assert.That(structs, Is.Not.Empty);
        return structs;
    }

    private static (string C, string Header, string Name, Type Type)[] Mirrors()
    {
        var folder = Path.Combine(TestFiles.Root, "src/DiTRuntime.Cuda/Kernels");
        var found = Directory.EnumerateFiles(folder, "*.cs", SearchOption.AllDirectories).Order(StringComparer.Ordinal)
            .SelectMany(file => Mirror().Matches(File.ReadAllText(file)))
            .Select(match => (match.Groups["c"].Value, match.Groups["header"].Value, match.Groups["name"].Value, TypeOf(match.Groups["name"].Value)))
            .ToArray();
        Assert.That(found, Is.Not.Empty);
        return found;
    }

    private static Type TypeOf(string name) =>
        s_assembly.GetType("DiTRuntime.Cuda.Kernels." + name) ?? s_assembly.GetType("DiTRuntime.Cuda.Kernels.Training." + name)
        ?? throw new AssertionException($"no struct {name} in DiTRuntime.Cuda.Kernels");

    [GeneratedRegex(@"//[^\n]*|/\*.*?\*/", RegexOptions.Singleline)]
    private static partial Regex Comment();

    [GeneratedRegex(@"typedef\s+struct\s*\w*\s*\{(?<fields>[^}]*)\}\s*(?<name>dit_\w+)\s*;")]
    private static partial Regex CStruct();

    [GeneratedRegex(@"(\w+)\s*(?:\[[^\]]*\])?$")]
    private static partial Regex FieldName();

    [GeneratedRegex(@"[Mm]irrors <c>(?<c>dit_\w+)</c> in kernels/(?<header>abi/\w+\.h)(?:(?!\bclass\b|Mirrors <c>)[\s\S])*?\bstruct (?<name>\w+)")]
    private static partial Regex Mirror();

    [GeneratedRegex(@"(?<=[a-z0-9])[A-Z]|(?<=[A-Z])[A-Z](?=[a-z])")]
    private static partial Regex WordStart();
}

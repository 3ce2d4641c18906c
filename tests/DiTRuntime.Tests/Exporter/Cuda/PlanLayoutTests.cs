using System.Text.RegularExpressions;
using DiTRuntime.Cuda.Kernels;
using DiTRuntime.Exporter.Cuda;
using DiTRuntime.Tests.Checkpoints;
using DiTRuntime.Tests.Cuda;

namespace DiTRuntime.Tests.Exporter.Cuda;

/// <summary>The structs of a plan are those of runtime/cuda_plan.h, field by field, as a C compiler lays them out.</summary>
[TestFixture]
internal sealed partial class PlanLayoutTests
{
    private static readonly (string C, Type Type)[] s_mirrors =
    [
        ("dit_plan_place", typeof(PlanPlace)),
        ("dit_plan_buffer", typeof(PlanBuffer)),
        ("dit_plan_kernel", typeof(PlanKernel)),
        ("dit_plan_command", typeof(PlanCommand)),
        ("dit_plan_pointer", typeof(PlanPointer)),
        ("dit_plan_range", typeof(PlanRange)),
        ("dit_plan_shape", typeof(PlanShape)),
        ("dit_plan_update", typeof(DeviceSampleUpdate)),
        ("dit_plan", typeof(PlanHeader)),
    ];

    private static string Header => Path.Combine(TestFiles.Root, "tools/DiTRuntime.Exporter/runtime/cuda_plan.h");

    [Test]
    public void Every_struct_of_the_plan_has_its_mirror() =>
        Assert.That(s_mirrors.Select(mirror => mirror.C), Is.EquivalentTo(CStruct().Matches(File.ReadAllText(Header)).Select(match => match.Groups[1].Value)));

    [Test]
    public void Sizes_and_offsets_are_the_compilers()
    {
        using var folder = new TestFolder();
        var program = $$"""
            #include "cuda_plan.h"
            #include <stddef.h>
            #include <stdio.h>
            #define FIELD(s, f) printf(#s "." #f ": %zu bytes at %zu\n", sizeof(((s*)0)->f), offsetof(s, f))
            int main(void) {
            {{FileLayoutTests.Printing(s_mirrors)}}
            printf("%u %d %d %d %d\n", DIT_PLAN_VERSION, DIT_PLAN_LAUNCH, DIT_PLAN_STAGE, DIT_PLAN_SAMPLING, DIT_PLAN_PASS);
            return 0;
            }
            """;
        HostC.Compile(folder.Write("layout.c", program), folder["layout"], "-I", Path.GetDirectoryName(Header)!);
        var (code, text) = HostC.Run(folder["layout"]);
        Assert.That(code, Is.Zero, text);
        var constants = $"{PlanHeader.PlanVersion} {(uint)PlanCommandKind.Launch} {(uint)PlanCommandKind.Stage} {(uint)PlanShapeKind.Sampling} {(uint)PlanShapeKind.Pass}";
        Assert.That(text.Split('\n', StringSplitOptions.RemoveEmptyEntries), Is.EqualTo(s_mirrors.SelectMany(FileLayoutTests.Expected).Append(constants)));
    }

    [GeneratedRegex(@"typedef\s+struct\s+(dit_\w+)\s*\{")]
    private static partial Regex CStruct();
}

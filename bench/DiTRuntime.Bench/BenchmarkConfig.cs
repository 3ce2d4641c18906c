using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;

namespace DiTRuntime.Bench;

/// <summary>Few, long iterations; medians; and how near each benchmark comes to its class's baseline.</summary>
internal sealed class BenchmarkConfig : ManualConfig
{
    public BenchmarkConfig()
    {
        AddJob(Job.Default.WithWarmupCount(3).WithIterationCount(9).WithInvocationCount(1).WithUnrollFactor(1).WithId("cpu"));
        AddColumn(StatisticColumn.Median);
        AddColumn(new ShareColumn());
        HideColumns("Error", "RatioSD", "Alloc Ratio");
    }

    /// <summary>Median of the baseline over median of the benchmark: 100 % is as fast as the baseline.</summary>
    private sealed class ShareColumn : IColumn
    {
        public string Id => nameof(ShareColumn);

        public string ColumnName => "Of baseline";

        public bool AlwaysShow => true;

        public ColumnCategory Category => ColumnCategory.Custom;

        public int PriorityInCategory => 0;

        public bool IsNumeric => true;

        public UnitType UnitType => UnitType.Dimensionless;

        public string Legend => "Median of the baseline / median of this benchmark, of the same parameters and the same run";

        public string GetValue(Summary summary, BenchmarkCase benchmarkCase)
        {
            var baseline = summary.BenchmarksCases.Single(c =>
                c.Descriptor.Baseline && c.Parameters.DisplayInfo == benchmarkCase.Parameters.DisplayInfo);
            var (own, other) = (summary[benchmarkCase]?.ResultStatistics, summary[baseline]?.ResultStatistics);
            return own is null || other is null ? "?" : $"{other.Median / own.Median:P1}";
        }

        public string GetValue(Summary summary, BenchmarkCase benchmarkCase, SummaryStyle style) => GetValue(summary, benchmarkCase);

        public bool IsAvailable(Summary summary) => true;

        public bool IsDefault(Summary summary, BenchmarkCase benchmarkCase) => false;
    }
}

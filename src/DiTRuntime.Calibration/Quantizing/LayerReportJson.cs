using System.Text.Json.Serialization;

namespace DiTRuntime.Calibration.Quantizing;

/// <summary>Reading and writing of reports, made when the program is built: a trimmed program has no other.</summary>
[JsonSerializable(typeof(IReadOnlyList<LayerReport>))]
internal sealed partial class LayerReportJson : JsonSerializerContext;

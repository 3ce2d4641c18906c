using DiTRuntime.Backends;
using DiTRuntime.Cuda.Compilation;
using DiTRuntime.Cuda.Devices;
using DiTRuntime.Quantization;

namespace DiTRuntime.Cuda.Kernels;

/// <summary>Launches kernels/gemm/gemm.cu: y = x Wᵀ + b with an epilogue.</summary>
/// <param name="library">Kernels of the device.</param>
internal sealed class GemmKernel(KernelLibrary library)
{
    private readonly Dictionary<Specialisation, GpuKernel> _kernels = [];

    /// <summary>The architecture whose form of the kernel runs: the device's. The others give the same bits.</summary>
    public int Architecture { get; init; } = library.Device.Properties.Architecture;

    /// <summary>Whether <see cref="GemmEpilogue.Quantize"/> can write activations of this format.</summary>
    /// <param name="outputs">N of the layer whose output it is.</param>
    /// <param name="format">The next layer's activations.</param>
    public static bool CanQuantizeOutput(int outputs, ActivationFormat format) => GemmConfiguration.CanQuantizeOutput(outputs, format);

    /// <summary>Runs a product.</summary>
    /// <exception cref="ArgumentException">Strides or shapes do not fit.</exception>
    public void Launch(GpuStream stream, in GemmProblem problem) => Launch(stream, problem, GemmConfiguration.Choose(problem, library.Device.Properties));

    /// <summary>Runs a product as configured.</summary>
    public void Launch(GpuStream stream, in GemmProblem problem, in GemmConfiguration configuration)
    {
        Check(problem);
        if (problem.Rows == 0) return;
        var tile = configuration.Tile;
        var shape = new LaunchShape(
            (problem.Layer.Outputs + tile.Columns - 1) / tile.Columns, (problem.Rows + tile.Rows - 1) / tile.Rows, 1, tile.Threads, configuration.SharedBytes(problem.Layer.Layout));
        stream.Launch(Kernel(Specialisation.Of(problem, configuration, Architecture)), shape, Arguments(problem));
    }

    /// <summary>The kernel that a product would be run by on a device; for listings and compilation ahead of time.</summary>
    public static KernelSpec Spec(in GemmProblem problem, GpuProperties device) =>
        Specialisation.Of(problem, GemmConfiguration.Choose(problem, device), device.Architecture).ToSpec();

    /// <summary>The same for a configuration.</summary>
    public static KernelSpec Spec(in GemmProblem problem, in GemmConfiguration configuration, int architecture) =>
        Specialisation.Of(problem, configuration, architecture).ToSpec();

    private GpuKernel Kernel(Specialisation specialisation)
    {
        if (!_kernels.TryGetValue(specialisation, out var kernel)) _kernels.Add(specialisation, kernel = library.Get(specialisation.ToSpec()));
        return kernel;
    }

    private static GemmArguments Arguments(in GemmProblem problem)
    {
        var layer = problem.Layer;
        var isInteger = layer.Format.IsInteger();
        var halves = problem.InputStride == 0 ? (layer.Inputs + 7) / 8 * 8 : problem.InputStride;
        return new()
        {
            Weight = layer.Device(problem.DecodedRecords),
            Input = isInteger ? problem.QuantizedInput.Codes : problem.Input,
            InputScales = problem.QuantizedInput.Scales,
            InputCorrections = problem.QuantizedInput.Corrections,
            Output = problem.Output,
            Quantized = problem.QuantizedOutput,
            Modulation = problem.Modulation,
            Rows = problem.Rows,
            InputStride = isInteger ? new ActivationLayout(layer.Layout.Grid).CodeStride : 2 * halves,
            OutputStride = problem.OutputStride == 0 ? layer.Outputs : problem.OutputStride,
            GateOffset = problem.GateOffset,
            Tokens = problem.Tokens,
            HeadCount = problem.HeadCount,
            HeadSize = problem.HeadCount == 0 ? 0 : layer.Outputs / (3 * problem.HeadCount),
        };
    }

    private static void Check(in GemmProblem problem)
    {
        var layer = problem.Layer;
        if (problem.InputStride % 8 != 0 || (problem.InputStride != 0 && problem.InputStride < layer.Inputs))
            throw new ArgumentException($"{layer.Name}: input rows are {problem.InputStride} halves apart, expected a multiple of 8 from {layer.Inputs} on", nameof(problem));
        if (layer.Layout.IsDecoded && problem.DecodedRecords.Address == 0) throw new ArgumentException($"{layer.Name}: the layer must be decoded first", nameof(problem));
        if (problem.Input.Address % 16 != 0 || problem.Output.Address % 16 != 0)
            throw new ArgumentException($"{layer.Name}: input and output must be aligned to 16 bytes", nameof(problem));
        if (problem.Activation != Activation.None && problem.Epilogue is not (GemmEpilogue.Store or GemmEpilogue.Quantize))
            throw new ArgumentException($"{layer.Name}: {problem.Epilogue} has no activation", nameof(problem));
        if (problem.Epilogue == GemmEpilogue.Quantize && !CanQuantizeOutput(layer.Outputs, problem.OutputFormat!))
            throw new ArgumentException($"{layer.Name}: groups of {problem.OutputGroup} lie in no tile; quantize the stored output instead", nameof(problem));
        if (problem.Epilogue == GemmEpilogue.Heads && (problem.HeadCount == 0 || layer.Outputs % (3 * problem.HeadCount) != 0))
            throw new ArgumentException($"{layer.Name}: {layer.Outputs} outputs are no q, k and v of {problem.HeadCount} heads", nameof(problem));
        if (problem.Epilogue is GemmEpilogue.Heads or GemmEpilogue.GatedResidual && (problem.Tokens == 0 || problem.Rows % problem.Tokens != 0))
            throw new ArgumentException($"{layer.Name}: {problem.Rows} rows are no samples of {problem.Tokens} tokens", nameof(problem));
    }

    /// <summary>What a kernel is compiled for.</summary>
    private readonly record struct Specialisation(
        GemmFormat Format, int Group, GemmConfiguration Configuration, GemmEpilogue Epilogue, Activation Activation, bool IsFloat, bool IsMagic, int Outputs, int OutputGroup,
        bool IsScaled, LookupSpecialisation? Lookup)
    {
        /// <summary>Sums of a group below this convert by one subtraction where the hardware's conversion is slow; half of it where codewords have signs.</summary>
        private const long MagicLimit = 1 << 23;

        public static Specialisation Of(in GemmProblem problem, in GemmConfiguration configuration, int architecture)
        {
            var (layer, grid) = (problem.Layer, problem.Layer.Layout.Grid);
            var quantizes = problem.Epilogue == GemmEpilogue.Quantize;
            return new(
                layer.Format, grid.Count == 1 ? 0 : grid.Size, configuration, problem.Epilogue, problem.Activation, problem.OutputIsFloat,
                architecture == 80 && layer.Format.IsInteger() && (long)ActivationQuantizer.MaxCode * layer.MaxCode * grid.Size < (layer.Format.IsLookup() ? MagicLimit / 2 : MagicLimit),
                quantizes ? layer.Outputs : 0, problem.OutputGroup, layer.Layout.IsScaled, layer.Format.IsLookup() ? LookupSpecialisation.Of(layer.Layout.Books!, configuration) : null);
        }

        public KernelSpec ToSpec()
        {
            var tile = Configuration.Tile;
            List<(string, int)> constants =
            [
                ("FORMAT", (int)Format), ("GROUP", Group), ("TILE_M", tile.Rows), ("TILE_N", tile.Columns), ("WARPS_M", tile.WarpRows), ("WARPS_N", tile.WarpColumns),
                ("KSTEPS", Configuration.StageSteps), ("STAGES", Configuration.Stages), ("EPILOGUE", (int)Epilogue), ("ACTIVATION", (int)Activation),
            ];
            if (IsFloat) constants.Add(("OUTPUT_F32", 1));
            if (IsMagic) constants.Add(("MAGIC", 1));
            if (Epilogue == GemmEpilogue.Quantize) constants.AddRange([("OUTPUTS", Outputs), ("OUTPUT_GROUP", OutputGroup)]);
            if (IsScaled) constants.Add(("SCALED", 1));
            Lookup?.AddTo(constants);
            return new KernelSpec("gemm/gemm.cu", "gemm_kernel", [.. constants]);
        }
    }

    /// <summary>What a kernel that looks columns up is compiled for besides.</summary>
    private readonly record struct LookupSpecialisation(int Codeword, int CodeBytes, int ReadSteps, int Book, int Copies, int TileBooks)
    {
        public static LookupSpecialisation Of(CodebookLayout books, in GemmConfiguration configuration) => new(
            books.CodewordBytes, books.CodeBytes, books.ReadSteps, books.Format.CodebookSize, configuration.BookCopies, books.TileBooks(configuration.Tile.Columns));

        public void AddTo(List<(string, int)> constants) => constants.AddRange(
            [("CODEWORD", Codeword), ("CODE_BYTES", CodeBytes), ("READ_STEPS", ReadSteps), ("BOOK", Book), ("BOOK_COPIES", Copies), ("TILE_BOOKS", TileBooks)]);
    }
}

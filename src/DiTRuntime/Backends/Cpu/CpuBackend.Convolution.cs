namespace DiTRuntime.Backends.Cpu;

/// <summary>
/// Convolution as one product per tap: the rows of a tile point straight at their pixels, or at zeros outside the
/// image, so nothing is unfolded and nearest-neighbour upsampling costs no memory. Bound: multiply-adds.
/// </summary>
internal sealed unsafe partial class CpuBackend<TSimd, TVec>
{
    private NativeBuffer? _zeroPixel;

    /// <inheritdoc/>
    public override void Convolution(Tensor input, PreparedConvolution layer, in ConvolutionOptions options, Tensor output)
    {
        TensorCheck.Convolution(this, input, layer, options, output);
        var prepared = TensorCheck.Prepared<CpuConvolution>(layer);
        var job = new ConvolutionJob
        {
            Input = Floats(input),
            Height = output.Shape[1],
            Width = output.Shape[2],
            PixelCount = output.RowCount,
            InputShift = options.UpsamplesInput ? 1 : 0,
            Channels = layer.Inputs,
            KernelSide = layer.KernelSize,
            ZeroPixel = _zeroPixel!.Floats,
            Panels = prepared.Panels,
            PanelCount = DivideUp(layer.Outputs, PanelWidth),
            Target = new OutputTarget(
                Floats(output), layer.Outputs, prepared.Bias, options.Activation, options.Residual is null ? null : Floats(options.Residual)),
        };
        Pool.Run(job, job.PanelCount * DivideUp(job.PixelCount, RowBlock), RowBlock * PanelWidth * sizeof(float));
        KeepAlive(input, layer, output, options.Residual);
    }

    /// <summary>One panel of output channels for <see cref="RowBlock"/> pixels.</summary>
    private struct ConvolutionJob : IJob
    {
        public float* Input;
        public int Height;
        public int Width;
        public int PixelCount;
        public int InputShift;
        public int Channels;
        public int KernelSide;
        public float* ZeroPixel;
        public float* Panels;
        public int PanelCount;
        public OutputTarget Target;

        public readonly void Execute(int task, byte* scratch)
        {
            var panelIndex = task % PanelCount;
            var firstPixel = task / PanelCount * RowBlock;
            var pixels = Math.Min(RowBlock, PixelCount - firstPixel);
            var sums = (float*)scratch;
            var taps = KernelSide * KernelSide;
            var rows = stackalloc float*[TileRows];
            for (var tap = 0; tap < taps; tap++)
            {
                int dy = tap / KernelSide - KernelSide / 2, dx = tap % KernelSide - KernelSide / 2;
                var panel = Panels + ((long)panelIndex * taps + tap) * Channels * PanelWidth;
                for (var pixel = 0; pixel < pixels; pixel += TileRows)
                {
                    PointAtPixels(firstPixel + pixel, dy, dx, rows);
                    PanelProduct<TSimd, TVec>.Multiply(rows, Channels, panel, sums + pixel * PanelWidth, PanelWidth, first: tap == 0);
                }
            }

            Target.Store(sums, PanelWidth, panelIndex * PanelWidth, Math.Min(PanelWidth, Target.Width - panelIndex * PanelWidth), firstPixel, pixels);
        }

        /// <summary>Rows of a tile: the input pixels that a tap shows to neighbouring output pixels.</summary>
        private readonly void PointAtPixels(int firstPixel, int dy, int dx, float** rows)
        {
            int x = firstPixel % Width, y = firstPixel / Width % Height, sample = firstPixel / Width / Height;
            for (var r = 0; r < TileRows; r++)
            {
                int iy = y + dy, ix = x + dx;
                var inside = (uint)iy < (uint)Height && (uint)ix < (uint)Width && firstPixel + r < PixelCount;
                rows[r] = inside
                    ? Input + (((long)sample * (Height >> InputShift) + (iy >> InputShift)) * (Width >> InputShift) + (ix >> InputShift)) * Channels
                    : ZeroPixel;
                if (++x < Width) continue;
                x = 0;
                if (++y < Height) continue;
                y = 0;
                sample++;
            }
        }
    }
}

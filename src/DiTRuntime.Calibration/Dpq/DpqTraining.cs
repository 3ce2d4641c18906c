using System.Diagnostics;
using System.Globalization;
using DiTRuntime.Backends.Training;
using DiTRuntime.Calibration.Codebooks;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Calibration.Quantizing;
using DiTRuntime.Calibration.Training;
using DiTRuntime.Models;
using DiTRuntime.Quantization;

namespace DiTRuntime.Calibration.Dpq;

/// <summary>How a DPQ training goes.</summary>
internal sealed record DpqSchedule
{
    /// <summary>Rounds: steps, then an update of the assignments, then a measurement.</summary>
    public int Rounds { get; init; } = 8;

    /// <summary>Optimizer steps of a round.</summary>
    public int StepsPerRound { get; init; } = 50;

    /// <summary>Rows of a batch.</summary>
    public int RowCount { get; init; } = 32;

    /// <summary>Sweeps with a fit of vectors and row scales, before the first step.</summary>
    public int StartSweeps { get; init; } = 3;

    /// <summary>What the teacher's noise counts against the noise of the data: 0 to 1.</summary>
    public float TeacherPart { get; init; } = 0.5f;

    /// <summary>What each part of the loss counts.</summary>
    public LossWeights Loss { get; init; } = new(Blocks: 0.02f, Noise: 1, Variance: 0.05f);

    /// <summary>Whether codes follow the loss; else they follow the teacher's outputs.</summary>
    public bool MovesTargets { get; init; } = true;

    /// <summary>What all rates are multiplied by.</summary>
    public float RateScale { get; init; } = 1;

    /// <summary>Part of the time that states in the folder may take.</summary>
    public double SaveShare { get; init; } = SavePace.DefaultShare;

    /// <summary>What rates are multiplied by: up over the first steps, then down along a cosine to a twentieth.</summary>
    public float Rate(int step)
    {
        const int rise = 20;
        var total = Rounds * StepsPerRound;
        return RateScale * Math.Min(1, (step + 1f) / rise) * (0.525f + 0.475f * MathF.Cos(MathF.PI * step / total));
    }
}

/// <summary>
/// DPQ (Shao et al. 2024): assignments by the error of the layers' outputs, then codewords, row scales and biases by the gradient of the diffusion loss, with assignments chosen again from
/// time to time. Without data the teacher's own trajectories stand in for it.
/// </summary>
/// <param name="schedule">How it goes; null for the defaults.</param>
internal sealed class DpqTraining(DpqSchedule? schedule = null) : ICodebookTraining
{
    private const string StepKey = "step", ErrorKey = "error";

    /// <inheritdoc/>
    public void Check(QuantizeSettings settings, DiTConfig config)
    {
        if (settings.Codebooks!.DataPath is { } path) TrainingData.Load(path, config);
    }

    /// <inheritdoc/>
    public void Run(CodebookTask task)
    {
        if (task.Backend is not ITrainingBackend backend) throw new UsageException($"--method {task.Settings.MethodName}: the backend {task.Backend.Name} cannot train");
        using var weights = task.Open();
        var data = task.Settings.Codebooks!.DataPath is { } path ? TrainingData.Load(path, weights.Config) : null;
        using var model = new DiTModel(task.Open(), backend, task.Settings.Compatibility, residency: BlockLayers.Residency(weights));
        var how = schedule ?? new DpqSchedule();
        if (task.Settings.Codebooks.Iterations is { } rounds) how = how with { Rounds = rounds };
        PoolStart.Save(task, weights);
        using var student = new Student(task, how with { MovesTargets = how.MovesTargets && BlockLayers.AreHeld(weights) }, weights, model, backend, data);
        student.Train();
    }

    /// <summary>One training: what it works with, and where it stands.</summary>
    private sealed class Student : IDisposable
    {
        private readonly ResourceList _owned = new();
        private readonly CodebookTask _task;
        private readonly DpqSchedule _how;
        private readonly DpqTrainedLayer[][] _layers;
        private CodebookLayer[][] _best;
        private readonly ITrainingBatches _batches;
        private readonly StudentGradient _gradient;
        private readonly HeldOutNoise _heldOut;
        private readonly AssignmentPass _assignments;
        private readonly TrainingLog _log;
        private double _bestError;

        public Student(CodebookTask task, DpqSchedule how, DiTWeights weights, DiTModel model, ITrainingBackend backend, TrainingData? data)
        {
            (_task, _how) = (task, how);
            var config = weights.Config;
            try
            {
                _layers = [.. weights.Blocks.Select(block => BlockLayers.Of(block).Select(layer => new DpqTrainedLayer(
                    task.Workers, CodebookLayer.From((CodebookWeight)(task.Folder.TryLoadTrained(layer.Name)?.Weight ?? task.Start(layer.Name))), how.MovesTargets ? Values(layer) : [])).ToArray())];
                _best = Snapshots();
                var seed = task.Settings.Seed;
                if (data is null) _batches = _owned.Add(new TrajectoryBatches(new Teacher(model, how.RowCount / 2, rowsPerImage: 2), model, how.RowCount / 2, seed + 1));
                else _batches = _owned.Add(new DataBatches(new Teacher(model, how.RowCount), config, data, how.RowCount, seed + 1, how.TeacherPart));
                var final = _owned.Add(new FinalLayer(backend, config, weights.FinalLinear, _batches.RowCount));
                _gradient = _owned.Add(new StudentGradient(backend, config, task.Settings.Compatibility, _batches.RowCount, final));
                var samples = CalibrationSet.Keep(task.Folder, model, task.Settings, task.Progress);
                var split = SampleSplit.Of(samples);
                _heldOut = _owned.Add(new HeldOutNoise(model, weights, backend, samples, split.HeldOut));
                var set = samples.Take([.. split.Trained.Take(AssignmentPass.SampleLimit(config))]);
                CalibrationRun Run() => _owned.Add(new CalibrationRun(weights, backend, task.Workers, task.Settings.Compatibility, set));
                _assignments = new AssignmentPass(task.Workers, weights.Blocks, Run(), Run(), set, config.NullClass);
                _log = new TrainingLog(task.Folder.TrainingPath(WorkFolder.LogName), "loss,changed_codes,held_out_error,best_error,seconds_left");
            }
            catch
            {
                _owned.Dispose();
                throw;
            }
        }

        private int StepCount => _how.Rounds * _how.StepsPerRound;

        private string StatePath => _task.Folder.TrainingPath("state.safetensors");

        private string BestPath => _task.Folder.TrainingPath("best.safetensors");

        public void Train()
        {
            var loaded = TryLoad();
            var first = loaded ?? 0;
            if (loaded is null) Start();
            var start = Stopwatch.GetTimestamp();
            var states = new SavePace(_how.SaveShare);
            double loss = 0;
            for (var step = first; step < StepCount; step++)
            {
                _task.Cancellation.ThrowIfCancellationRequested();
                foreach (var layer in _layers.SelectMany(block => block)) layer.RateFactor = _how.Rate(step);
                loss += _gradient.Train(_batches.Next(step), _layers, _how.Loss).Noise;
                var left = Stopwatch.GetElapsedTime(start).TotalSeconds / (step + 1 - first) * (StepCount - step - 1);
                _task.Progress?.Report(new QuantizeProgress("training", "steps", step + 1, StepCount));
                var endsRound = (step + 1) % _how.StepsPerRound == 0;
                if (endsRound)
                {
                    var changes = Reassign();
                    var error = Measure();
                    Log(step + 1, loss / _how.StepsPerRound, changes, error, left);
                    loss = 0;
                }

                if (endsRound || states.IsDue) states.Save(() => Save(step + 1));
            }

            foreach (var layer in _best.SelectMany(block => block)) _task.Folder.SaveTrained(new PackedLayer(layer.ToWeight()));
        }

        public void Dispose() => _owned.Dispose();

        /// <summary>Fits codes and vectors to the layers' outputs; where that does not help, the layers stay as they were.</summary>
        private void Start()
        {
            _bestError = _heldOut.Measure(Fixed(_best));
            Log(0, 0, 0, _bestError, 0);
            var fitted = Snapshots();
            var changes = _assignments.Fit(
                fitted, _how.StartSweeps, solves: true, KeepTarget, done => _task.Progress?.Report(new QuantizeProgress("fitting codes to outputs", "blocks", done, fitted.Length)));
            var error = _heldOut.Measure(Fixed(fitted));
            Log(0, 0, changes, error, 0);
            if (error < _bestError)
            {
                foreach (var (trained, layer) in _layers.SelectMany(block => block).Zip(fitted.SelectMany(block => block))) trained.Restart(layer);
                (_best, _bestError) = (fitted, error);
            }

            Keep(_best, _bestError);
            Save(0);
        }

        private double Measure()
        {
            var now = Snapshots();
            var error = _heldOut.Measure(Fixed(now));
            if (error < _bestError) Keep(now, error);
            return error;
        }

        private void Keep(CodebookLayer[][] layers, double error)
        {
            (_best, _bestError) = (layers, error);
            TrainingState.Save(BestPath, new Dictionary<string, string> { [ErrorKey] = error.ToString("R", CultureInfo.InvariantCulture) }, ExchangeBest);
        }

        private void Save(int step) => TrainingState.Save(StatePath, new Dictionary<string, string> { [StepKey] = step.ToString(CultureInfo.InvariantCulture) }, Exchange);

        /// <returns>Steps that an earlier run has taken; null where it has not come that far.</returns>
        private int? TryLoad()
        {
            if (!File.Exists(StatePath)) return null;
            var step = 0;
            TrainingState.Load(StatePath, (facts, state) =>
            {
                step = int.Parse(facts[StepKey], CultureInfo.InvariantCulture);
                Exchange(state);
            });
            // The best may be from after the state: the steps in between give the same layers again.
            TrainingState.Load(BestPath, (facts, state) =>
            {
                _bestError = double.Parse(facts[ErrorKey], CultureInfo.InvariantCulture);
                ExchangeBest(state);
            });
            foreach (var layer in _layers.SelectMany(block => block)) layer.StepCount = step;
            _log.Resume(block: null, step);
            _task.Note($"training goes on after step {step} of {StepCount}, taken by an earlier run");
            return step;
        }

        private void Exchange(TrainingState state)
        {
            state.Exchange("batches", _batches.State);
            foreach (var layer in _layers.SelectMany(block => block)) layer.Exchange(state);
        }

        private void ExchangeBest(TrainingState state)
        {
            foreach (var layer in _best.SelectMany(block => block)) layer.Exchange(state, "");
        }

        private CodebookLayer[][] Snapshots() => Array.ConvertAll(_layers, block => Array.ConvertAll(block, layer => layer.Snapshot()));

        private static ITrainedLayer[][] Fixed(CodebookLayer[][] layers) => Array.ConvertAll(layers, block => Array.ConvertAll(block, layer => (ITrainedLayer)new FixedLayer(layer.ToWeight())));

        /// <summary>Chooses codes for the layers' own targets; where they have none, for the teacher's outputs.</summary>
        private long Reassign()
        {
            var layers = Array.ConvertAll(_layers, block => Array.ConvertAll(block, layer => layer.Layer));
            return _how.MovesTargets ? _assignments.Reassign(layers, (block, layer, target) => _layers[block][layer].Target.CopyTo(Values(target))) : _assignments.Fit(layers, sweeps: 1, solves: false);
        }

        private void KeepTarget(int block, int layer, Matrix target)
        {
            if (_how.MovesTargets) Values(target).CopyTo(_layers[block][layer].Target);
        }

        private static unsafe Span<float> Values(Matrix matrix) => new(matrix.Row(0), matrix.RowCount * matrix.ColumnCount);

        private static float[] Values(LinearWeight layer)
        {
            var values = new float[layer.Outputs * layer.Inputs];
            layer.CopyRows(0, layer.Outputs, values);
            return values;
        }

        /// <summary>A line of the log: the loss is the mean over a round's steps, errors are of the noise on samples held out.</summary>
        private void Log(int step, double loss, long changes, double error, double secondsLeft) =>
            _log.Add(block: null, step, $"{loss:0.000e+00},{changes},{error:0.000e+00},{Math.Min(error, _bestError):0.000e+00},{secondsLeft:0}");
    }
}

using DiTRuntime.Calibration.Dpq;
using DiTRuntime.Calibration.Numerics;
using DiTRuntime.Tests.Quantization;

namespace DiTRuntime.Tests.Calibration.Dpq;

internal sealed unsafe class OutputTargetTests
{
    private const int Rows = 5, Size = 20;

    // Chunks of 512 inputs: within one, and over two.
    [TestCase(200)]
    [TestCase(700)]
    public void Makes_the_teacher_s_outputs_of_the_student_s_inputs(int count)
    {
        var teacher = Gaussian.Values(count * Size, seed: 1);
        var noise = Gaussian.Values(count * Size, seed: 2);
        // The student reads the teacher's inputs halved, mixed with their neighbours, off by a constant, and disturbed.
        float[] student = [.. teacher.Select((x, i) => 0.5f * x + 0.2f * teacher[i % Size == 0 ? i : i - 1] + 0.3f + 0.05f * noise[i])];
        var original = Gaussian.Values(Rows * Size, seed: 3);
        var corrected = original.ToArray();
        var bias = new float[Rows];
        using var workers = new Workers(2);
        using var target = new OutputTarget(workers, Size);
        var half = count / 3 * Size;
        target.Add(teacher.AsSpan(0, half), student.AsSpan(0, half));
        target.Add(teacher.AsSpan(half), student.AsSpan(half));
        var before = Error(original, bias);

        fixed (float* w = original, c = corrected)
        {
            target.Correct(new Matrix(c, Rows, Size, Size));
            target.CorrectBias(bias, new Matrix(w, Rows, Size, Size), new Matrix(c, Rows, Size, Size));
        }

        // Damping by a twentieth of the mean moment leaves an eighth of the error.
        Assert.That(Error(corrected, bias), Is.LessThan(0.15 * before));
        for (var row = 0; row < Rows; row++) Assert.That(MeanDifference(row), Is.Zero.Within(1e-4));

        double Output(float[] weights, float[] inputs, int sample, int row) => Enumerable.Range(0, Size).Sum(i => (double)weights[row * Size + i] * inputs[sample * Size + i]);

        double Difference(float[] weights, float[] offsets, int sample, int row) => Output(original, teacher, sample, row) - Output(weights, student, sample, row) - offsets[row];

        double Error(float[] weights, float[] offsets) => Enumerable.Range(0, count).Sum(sample => Enumerable.Range(0, Rows).Sum(row => Math.Pow(Difference(weights, offsets, sample, row), 2)));

        double MeanDifference(int row) => Enumerable.Range(0, count).Average(sample => Difference(corrected, bias, sample, row));
    }
}

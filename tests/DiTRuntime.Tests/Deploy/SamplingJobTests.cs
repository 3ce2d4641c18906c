using System.Globalization;
using DiTRuntime.Tests.Cli;
using DiTRuntime.Tests.Imaging;
using k8s.Models;

namespace DiTRuntime.Tests.Deploy;

/// <summary>The command lines of the evaluation jobs, run for real on a small scale.</summary>
public sealed class SamplingJobTests
{
    [Test]
    public void The_shards_of_the_job_are_those_of_one_run()
    {
        var job = Manifests.Of<V1Job>("sampling").Single().Spec;
        Assert.That(job.CompletionMode, Is.EqualTo("Indexed"));
        Assert.That(job.Template.Spec.Containers.Single().ValueOf("--shard"), Is.EqualTo($"$(JOB_COMPLETION_INDEX)+1/{job.Completions}"));
        Assert.That(job.Template.Spec.Containers.Single().ValueOf("--count"), Is.EqualTo("50000"));
    }

    [Test]
    public void The_jobs_make_the_file_that_one_run_makes()
    {
        const int shards = 3;
        using var folder = new TemporaryFolder();
        var sample = Manifests.Pods("sampling").Single().Spec.Containers.Single().Args;
        var merge = Manifests.Pods("merging").Single().Spec.Containers.Single().Args;
        var completions = Manifests.Of<V1Job>("sampling").Single().Spec.Completions!.Value;
        // Twice: a pod may run again after it has finished.
        foreach (var index in new[] { 2, 0, 1, 1 })
            CliRunner.Run([.. sample.Select(word => Small(word).Replace("$(JOB_COMPLETION_INDEX)", index.ToString(CultureInfo.InvariantCulture)))]).Succeeded();
        CliRunner.Run([.. merge.Select(Small)]).Succeeded();

        CliRunner.Run([.. Without(sample, "--shard").Select(word => Small(word).Replace("part-$(JOB_COMPLETION_INDEX)", "whole"))]).Succeeded();
        Assert.That(File.ReadAllBytes(folder["all.npz"]).AsSpan().SequenceEqual(File.ReadAllBytes(folder["whole.npz"])));

        string Small(string word) => word switch
        {
            "50000" => "7",
            "50" => "2",
            _ => word.Replace($"/{completions}", $"/{shards}").Replace("/samples", folder.Path),
        };
    }

    private static IEnumerable<string> Without(IList<string> words, string flag)
    {
        var at = words.IndexOf(flag);
        return words.Where((_, i) => i != at && i != at + 1);
    }
}

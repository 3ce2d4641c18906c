using System.Globalization;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using DiTRuntime.Tests.Cli;
using k8s.Models;

namespace DiTRuntime.Tests.Deploy;

/// <summary>The manifests against Kubernetes' own types, against each other, and against what the program takes and answers.</summary>
public sealed class ManifestTests
{
    private static readonly string s_serving = File.ReadAllText(Path.Combine(TestFiles.Root, "docs/serving.md"));

    [TestCaseSource(typeof(Manifests), nameof(Manifests.Folders))]
    public void Every_object_is_one_that_Kubernetes_knows(string folder)
    {
        var objects = Manifests.Of(folder);
        Assert.That(objects, Is.Not.Empty);
        foreach (var one in objects.Cast<k8s.IKubernetesObject<V1ObjectMeta>>())
        {
            Assert.That(one.Metadata.Name, Does.Match("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), one.Kind);
            foreach (var (name, value) in one.Metadata.Labels ?? new Dictionary<string, string>())
                Assert.That(value, Does.Match("^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"), name);
        }
    }

    [TestCase("spec: {replica: 2}", "replica")]
    [TestCase("spec: {replicas: two}", "")]
    [TestCase("spec: {template: {spec: {containers: [{name: a, resources: {limits: {memory: lots}}}]}}}", "")]
    public void A_mistake_in_a_manifest_is_noticed(string spec, string word) =>
        Assert.That(() => Manifests.Parse($"apiVersion: apps/v1\nkind: Deployment\n{spec}\n"), Throws.Exception.With.Message.Contains(word));

    [Test]
    public void No_manifest_is_left_out()
    {
        var rendered = Manifests.Folders.SelectMany(Manifests.Of).Select(o => o.GetType().Name).ToHashSet();
        Assert.That(rendered, Is.SupersetOf(new[]
        {
            nameof(V1Deployment), nameof(V1Service), nameof(V1PodDisruptionBudget), nameof(V1NetworkPolicy), nameof(V2HorizontalPodAutoscaler), nameof(V1Secret), nameof(V1Job), nameof(V1PersistentVolumeClaim),
        }));
        var folders = Directory.GetFiles(Manifests.Path("kubernetes"), "kustomization.yaml", SearchOption.AllDirectories)
            .Select(f => Path.GetRelativePath(Manifests.Path("kubernetes"), Path.GetDirectoryName(f)!).Replace('\\', '/'));
        Assert.That(folders, Is.EquivalentTo(Manifests.Folders.Append("base")));
    }

    [TestCaseSource(typeof(Manifests), nameof(Manifests.Folders))]
    public void Selectors_find_their_pods(string folder)
    {
        foreach (var deployment in Manifests.Of<V1Deployment>(folder))
        {
            var labels = deployment.Spec.Template.Metadata.Labels;
            Assert.That(deployment.Spec.Selector.MatchLabels, Is.Not.Empty.And.SubsetOf(labels));
            foreach (var service in Manifests.Of<V1Service>(folder))
            {
                Assert.That(service.Spec.Selector, Is.SubsetOf(labels));
                foreach (var port in service.Spec.Ports) Assert.That(PortNames(deployment.Spec.Template), Does.Contain(port.TargetPort.Value));
            }

            foreach (var policy in Manifests.Of<V1NetworkPolicy>(folder))
            {
                Assert.That(policy.Spec.PodSelector.MatchLabels, Is.SubsetOf(labels));
                foreach (var port in policy.Spec.Ingress.SelectMany(rule => rule.Ports)) Assert.That(PortNames(deployment.Spec.Template), Does.Contain(port.Port.Value));
            }

            foreach (var budget in Manifests.Of<V1PodDisruptionBudget>(folder)) Assert.That(budget.Spec.Selector.MatchLabels, Is.SubsetOf(labels));
            foreach (var spread in deployment.Spec.Template.Spec.TopologySpreadConstraints) Assert.That(spread.LabelSelector.MatchLabels, Is.SubsetOf(labels));
        }
    }

    [TestCaseSource(typeof(Manifests), nameof(Manifests.Folders))]
    public void Pods_may_do_no_more_than_they_need(string folder)
    {
        var user = long.Parse(Regex.Match(DockerfileTests.Text, @"(?m)^USER (\d+):\1$").Groups[1].Value, CultureInfo.InvariantCulture);
        foreach (var pod in Manifests.Pods(folder).Select(template => template.Spec))
        {
            using (Assert.EnterMultipleScope())
            {
                Assert.That(pod.SecurityContext.RunAsNonRoot, Is.True);
                Assert.That((pod.SecurityContext.RunAsUser, pod.SecurityContext.RunAsGroup), Is.EqualTo((user, user)));
                Assert.That(pod.SecurityContext.SeccompProfile.Type, Is.EqualTo("RuntimeDefault"));
                Assert.That(pod.AutomountServiceAccountToken, Is.False);
                Assert.That(pod.EnableServiceLinks, Is.False);
                foreach (var container in pod.Containers)
                {
                    Assert.That(container.SecurityContext.ReadOnlyRootFilesystem, Is.True);
                    Assert.That(container.SecurityContext.AllowPrivilegeEscalation, Is.False);
                    Assert.That(container.SecurityContext.Capabilities.Drop, Is.EqualTo(new[] { "ALL" }));
                    Assert.That(container.Resources.Limits.Keys, Is.SupersetOf(new[] { "cpu", "memory" }));
                    Assert.That(container.Resources.Requests.Keys, Is.SupersetOf(new[] { "cpu", "memory" }));
                }
            }
        }
    }

    [TestCaseSource(typeof(Manifests), nameof(Manifests.Folders))]
    public void What_is_mounted_is_there(string folder)
    {
        foreach (var pod in Manifests.Pods(folder).Select(template => template.Spec))
        {
            Assert.That(pod.Containers.SelectMany(c => c.VolumeMounts).Select(m => m.Name).Distinct(), Is.EquivalentTo(pod.Volumes.Select(v => v.Name)));
            foreach (var secret in pod.Volumes.Where(v => v.Secret is not null)) Assert.That(Manifests.Of<V1Secret>(folder).Select(s => s.Metadata.Name), Does.Contain(secret.Secret.SecretName));
            // Whatever a command reads or writes lies on a volume: the rest of the file system is the image's.
            foreach (var container in pod.Containers)
                foreach (var path in container.Args.Where(word => word.StartsWith('/')))
                    Assert.That(container.VolumeMounts.Any(m => path.StartsWith(m.MountPath + "/", StringComparison.Ordinal)), path);
        }
    }

    [Test]
    public void The_samples_have_a_claim() =>
        Assert.That(Manifests.Of<V1PersistentVolumeClaim>("sampling").Select(c => c.Metadata.Name), Is.EqualTo(new[] { "sampling", "merging" }
            .SelectMany(Manifests.Pods).SelectMany(p => p.Spec.Volumes).Where(v => v.PersistentVolumeClaim is not null).Select(v => v.PersistentVolumeClaim.ClaimName).Distinct()));

    [TestCaseSource(typeof(Manifests), nameof(Manifests.Folders))]
    public void The_program_takes_every_flag(string folder)
    {
        foreach (var container in Manifests.Pods(folder).SelectMany(template => template.Spec.Containers))
        {
            var command = container.Args[0];
            // What serve takes stands in its documentation.
            var known = command == "serve" ? s_serving + CliRunner.Run("--help").Out : CliRunner.Run(command, "--help").Succeeded().Out;
            foreach (var flag in container.Args.Where(word => word.StartsWith("--", StringComparison.Ordinal))) Assert.That(known, Does.Match($@"{flag}\b"), flag);
        }
    }

    [Test]
    public void Probes_ask_what_the_program_answers([Values("overlays/cpu", "overlays/gpu")] string folder)
    {
        var pod = Manifests.Pods(folder).Single();
        var container = pod.Spec.Containers.Single();
        foreach (var probe in new[] { container.StartupProbe, container.ReadinessProbe, container.LivenessProbe })
        {
            Assert.That(s_serving, Does.Contain($"`{probe.HttpGet.Path}`").Or.Contain($"GET {probe.HttpGet.Path}`"));
            Assert.That(PortNames(pod), Does.Contain(probe.HttpGet.Port.Value));
        }

        Assert.That(container.LivenessProbe.HttpGet.Path, Is.Not.EqualTo(container.ReadinessProbe.HttpGet.Path), "a pod that drains is alive");
        Assert.That(container.ValueOf("--port"), Is.EqualTo($"{container.Ports.Single().ContainerPort}"));
        Assert.That(pod.Metadata.Annotations["prometheus.io/port"], Is.EqualTo($"{container.Ports.Single().ContainerPort}"));
        Assert.That(s_serving, Does.Contain($"GET {pod.Metadata.Annotations["prometheus.io/path"]}`"));
    }

    [Test]
    public void Accepted_requests_have_their_time_before_the_pod_is_killed([Values("overlays/cpu", "overlays/gpu", "api-keys")] string folder)
    {
        var pod = Manifests.Pods(folder).Single().Spec;
        var container = pod.Containers.Single();
        var grace = int.Parse(container.ValueOf("--grace")!, CultureInfo.InvariantCulture);
        Assert.That(pod.TerminationGracePeriodSeconds, Is.GreaterThan(container.Lifecycle.PreStop.Sleep.Seconds + grace));
    }

    [Test]
    public void The_autoscaler_reads_a_metric_that_the_program_has()
    {
        var scaler = Manifests.Of<V2HorizontalPodAutoscaler>("autoscaling").Single().Spec;
        Assert.That(scaler.ScaleTargetRef.Name, Is.EqualTo(Manifests.Of<V1Deployment>("overlays/cpu").Single().Metadata.Name));
        var metric = scaler.Metrics.Single();
        Assert.That(metric.Type, Is.EqualTo("Pods"));
        Assert.That(s_serving, Does.Contain($"`{metric.Pods.Metric.Name}`"));
        var rule = File.ReadAllText(Manifests.Path("kubernetes/autoscaling/adapter-values.yaml"));
        Assert.That(rule, Does.Contain($"seriesQuery: {metric.Pods.Metric.Name}{{").And.Contain($"as: {metric.Pods.Metric.Name}\n"));
        Assert.That(scaler.MinReplicas, Is.GreaterThan(Manifests.Of<V1PodDisruptionBudget>("overlays/cpu").Single().Spec.MaxUnavailable.Value is "1" ? 1 : 0));
    }

    [TestCaseSource(typeof(Manifests), nameof(Manifests.Folders))]
    public void The_image_is_this_version(string folder)
    {
        var version = XDocument.Load(Path.Combine(TestFiles.Root, "Directory.Build.props")).Descendants("Version").Single().Value;
        foreach (var container in Manifests.Pods(folder).SelectMany(template => template.Spec.Containers)) Assert.That(container.Image, Is.EqualTo($"dit:{version}"));
    }

    private static IEnumerable<string> PortNames(V1PodTemplateSpec pod) => pod.Spec.Containers.SelectMany(c => c.Ports).Select(p => p.Name);
}

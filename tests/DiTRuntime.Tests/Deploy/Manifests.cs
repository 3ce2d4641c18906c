using DiTRuntime.Tests.Exporter.EndToEnd;
using k8s;
using k8s.Models;

namespace DiTRuntime.Tests.Deploy;

/// <summary>What the folders under deploy/kubernetes make, as kubectl would send it: rendered, and read strictly by Kubernetes' own client.</summary>
internal static class Manifests
{
    /// <summary>What is applied with kubectl apply -k.</summary>
    public static readonly string[] Folders = ["overlays/cpu", "overlays/gpu", "api-keys", "autoscaling", "sampling", "merging"];

    private static readonly Dictionary<string, List<object>> s_rendered = [];

    /// <summary>A path under deploy.</summary>
    public static string Path(string path) => System.IO.Path.Combine(TestFiles.Root, "deploy", path);

    /// <summary>The objects of a folder. An unknown field, a wrong type or an amount that is none throws.</summary>
    public static List<object> Of(string folder)
    {
        if (s_rendered.TryGetValue(folder, out var known)) return known;
        if (!Programs.IsThere("kubectl")) throw CTools.Missing("kubectl is not on the PATH");
        return s_rendered[folder] = Parse(CTools.Succeed("kubectl", "kustomize", Path($"kubernetes/{folder}")));
    }

    /// <summary>The objects of one kind.</summary>
    public static IEnumerable<T> Of<T>(string folder) => Of(folder).OfType<T>();

    /// <summary>The pods that a folder runs.</summary>
    public static IEnumerable<V1PodTemplateSpec> Pods(string folder) =>
        [.. Of<V1Deployment>(folder).Select(d => d.Spec.Template), .. Of<V1Job>(folder).Select(j => j.Spec.Template)];

    /// <summary>Reads manifests, strictly.</summary>
    public static List<object> Parse(string yaml) => KubernetesYaml.LoadAllFromString(yaml, typeMap: null, strict: true);

    /// <summary>The word that follows a flag.</summary>
    public static string? ValueOf(this V1Container container, string flag)
    {
        var at = container.Args.IndexOf(flag);
        return at < 0 ? null : container.Args[at + 1];
    }
}

using System.Reflection;

namespace DiTRuntime;

/// <summary>The version of the library and of everything built with it.</summary>
public static class ProductVersion
{
    /// <summary>Major, minor and patch: "0.5.0".</summary>
    public static string Text { get; } =
        typeof(ProductVersion).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "unknown";
}

using DiTRuntime.Imaging;

namespace DiTRuntime.Models;

/// <summary>What follows from agreeing with one implementation or the other, outside the forward pass.</summary>
public static class CompatibilityRules
{
    /// <summary>Its name on the command line.</summary>
    public static string Name(this Compatibility compatibility) => compatibility == Compatibility.Official ? "official" : "diffusers";

    /// <summary>Whether a guidance scale s turns guidance on: any but 1 in the published code, those above 1 in diffusers.</summary>
    public static bool Guides(this Compatibility compatibility, double scale) => compatibility == Compatibility.Official ? scale != 1 : scale > 1;

    /// <summary>Leading latent channels that are guided: three in the published code, all in diffusers.</summary>
    public static int GuidedChannels(this Compatibility compatibility, DiTConfig config) =>
        compatibility == Compatibility.Official ? Math.Min(3, config.InChannels) : config.InChannels;

    /// <summary>How decoded values become bytes.</summary>
    public static PixelRounding Rounding(this Compatibility compatibility) =>
        compatibility == Compatibility.Official ? PixelRounding.Truncate : PixelRounding.Nearest;
}

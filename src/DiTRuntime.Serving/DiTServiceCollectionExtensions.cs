using DiTRuntime.Models;
using DiTRuntime.Models.Scheduling;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace DiTRuntime.Serving;

/// <summary>Registers a model with an application.</summary>
public static class DiTServiceCollectionExtensions
{
    /// <summary>
    /// Adds <see cref="ModelHost"/>: the model is loaded once the application has started, and drained before it ends. From then on there is a
    /// <see cref="DiTPipeline"/> as well, whose <see cref="DiTPipeline.GenerateAsync"/> any number of callers may use at once.
    /// </summary>
    /// <param name="services">The application's services.</param>
    /// <param name="configure">Says which model, and where it runs; the built-in digits on the best backend where it is null.</param>
    public static IServiceCollection AddDiT(this IServiceCollection services, Action<DiTOptions>? configure = null)
    {
        var options = services.AddOptions<DiTOptions>();
        if (configure is not null) options.Configure(configure);
        services.AddLogging();
        services.TryAddSingleton(TimeProvider.System);
        services.TryAddSingleton<ImageRate>();
        services.AddSingleton<ISchedulerObserver>(provider => provider.GetRequiredService<ImageRate>());
        services.TryAddSingleton<ModelHost>();
        services.AddHostedService(provider => provider.GetRequiredService<ModelHost>());
        services.TryAddSingleton(provider => provider.GetRequiredService<ModelHost>().Model?.Pipeline
            ?? throw new InvalidOperationException($"the model is not loaded yet: await {nameof(ModelHost)}.{nameof(ModelHost.Loaded)} before"));
        return services;
    }
}

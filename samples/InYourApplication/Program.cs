// A model inside an application of your own: its host loads the model, callers share it, and each image has the bits that it would have alone.
//
//   dotnet run --project samples/InYourApplication -- --backend cpu --folder images
using DiTRuntime.Models;
using DiTRuntime.Models.Scheduling;
using DiTRuntime.Serving;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

var builder = Host.CreateApplicationBuilder(args);
builder.Logging.SetMinimumLevel(LogLevel.Warning);
builder.Services.AddDiT(options =>
{
    options.Model = builder.Configuration["model"];
    options.Decoder = builder.Configuration["vae"];
    options.Backend = builder.Configuration["backend"] ?? "auto";
});

using var host = builder.Build();
await host.StartAsync();
var model = await host.Services.GetRequiredService<ModelHost>().Loaded;
Console.WriteLine($"{model.Id}: {model.ImageSide}x{model.ImageSide} pixels, {model.Config.ClassCount} classes, on {model.Backend}");

var folder = Directory.CreateDirectory(builder.Configuration["folder"] ?? "images").FullName;
var pipeline = host.Services.GetRequiredService<DiTPipeline>();
var stopping = host.Services.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping;

// Two callers at once, with samplers of their own: their steps share batches. Ctrl-C cancels both.
var quick = DrawAsync("quick", new GenerationRequest { Labels = [3, 1, 4], Seed = 7, GuidanceScale = 2, Sampler = new SamplerOptions { Steps = 10 } });
var careful = DrawAsync("careful", new GenerationRequest { Labels = [8], Seed = 8, Sampler = new SamplerOptions { Sampler = "ddpm", Steps = 25 } });
await Task.WhenAll(quick, careful);
await host.StopAsync();

async Task DrawAsync(string name, GenerationRequest request)
{
    var progress = new Progress<StepProgress>(p => Console.Error.WriteLine($"{name}: {p.StepsDone} of {p.StepsTotal} steps, {p.ImagesDone} of {p.ImageCount} images"));
    foreach (var image in await pipeline.GenerateAsync(request, progress, stopping))
    {
        var path = Path.Combine(folder, $"{name}-{image.Index}.png");
        await File.WriteAllBytesAsync(path, model.Encode(request, image, ".png"), stopping);
        Console.WriteLine(path);
    }
}

using System.Globalization;
using BenchmarkDotNet.Running;
using DiTRuntime.Bench;

// `pairs [M] [ROUNDS]` compares layers call by call; anything else is BenchmarkDotNet's.
if (args is ["pairs", ..]) LayerPairs.Run(Number(0, 512), Number(1, 200));
else BenchmarkSwitcher.FromAssembly(typeof(LayerPairs).Assembly).Run(args);

int Number(int at, int fallback) => args.Length > at + 1 ? int.Parse(args[at + 1], CultureInfo.InvariantCulture) : fallback;

using BenchmarkDotNet.Running;
if (args is ["scratch"]) { DiTRuntime.Bench.Scratch.Run(); return; }
BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args);

using DiTRuntime.Cli;

using var interruption = new Interruption();
var console = new CliConsole(Console.Out, Console.Error, !Console.IsErrorRedirected);
return CliApplication.Run(args, console, interruption.Token, grace => interruption.Grace = grace);

#!/usr/bin/env bash
# Loads `dit serve` with the digit model on the processor, and writes serve.md and serve.json: throughput against offline generation, latency under
# mixed load, a crowd of clients whose every image is checked, memory, and what a request costs beside the images.
# About 25 minutes as it stands, 12 of them the memory's; --quick takes two and shows that it works.
#
#   bench/serve/run.sh [--out DIR] [--quick] [--only throughput,latency,crowd,memory,overhead] [--seconds N] [--minutes N] [--clients N] ...
set -euo pipefail
root="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)"
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1
for project in src/DiTRuntime.Cli/DiTRuntime.Cli.csproj bench/serve/DiTRuntime.Bench.Serve.csproj; do
    dotnet build "$root/$project" -c Release -v quiet --nologo "-clp:ErrorsOnly;NoSummary"
done
exec dotnet "$root/bench/serve/bin/Release/net10.0/serve-bench.dll" --dit "$root/src/DiTRuntime.Cli/bin/Release/net10.0/dit.dll" "$@"

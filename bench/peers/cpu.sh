#!/usr/bin/env bash
# DiTRuntime and PyTorch on this machine's CPU, one after the other in one run; see cpu_torch.py for what PyTorch needs.
set -euo pipefail
root="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)"
cd "$root/bench/DiTRuntime.Bench"
dotnet run -c Release -- --filter '*LowBitBenchmarks*' '*StepBenchmarks*'
# The system's Python, whose packages Debian's are.
/usr/bin/python3 ../peers/cpu_torch.py "$@"

#!/usr/bin/env bash
# The benchmark on a GPU machine: checks, kernels, steps, then PyTorch on the same shapes in the same run. No network, no .NET, no sources needed: it
# lies beside `dit` in what pack.sh made.
#
#   run.sh [--out DIR] [--part 1|2] [--quick] [--sanitize | --tests] [dit bench options...]
#
#   --out DIR     where README.md and the CSV files go; $OUT, else ./gpu-bench
#   --part 1      checks and kernels only;  --part 2: steps and PyTorch only. Both when absent.
#   --quick       tiny shapes everywhere: does everything run?
#   --sanitize    instead of all that: compute-sanitizer's memcheck and racecheck over the checks at tiny shapes
#   --tests       instead of all that: the tests of kernels and engine, where pack.sh --tests put them; run in a checkout, whose goldens they read
#
# DIT_CUDA_PATH names a folder with libnvrtc and libcublasLt where they are in no usual place; PYTHON the python3 that has torch.
set -euo pipefail

here="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)"
python="${PYTHON:-python3}"
out="${OUT:-gpu-bench}"
part=all
quick=()
sanitize=no
tests=no
extra=()
while (($#)); do
    case "$1" in
        --out) out="${2:?--out needs a folder}"; shift ;;
        --part) part="${2:?--part needs 1 or 2}"; shift ;;
        --quick) quick=(--quick) ;;
        --sanitize) sanitize=yes ;;
        --tests) tests=yes ;;
        -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
        *) extra+=("$1") ;;
    esac
    shift
done

case "$part" in
    all) parts=(check,kernels steps) ;;
    1) parts=(check,kernels) ;;
    2) parts=(steps) ;;
    *) echo "run.sh: --part $part: expected 1 or 2" >&2; exit 2 ;;
esac

dit="$here/dit"
if [[ ! -x "$dit" ]]; then
    echo "run.sh: there is no $dit; bench/gpu/pack.sh makes it" >&2
    exit 2
fi

mkdir -p "$out"
export DIT_COMMIT="${DIT_COMMIT:-$(cat "$here/COMMIT" 2>/dev/null || echo unknown)}"
# Where a file was unpacked or kernels were compiled before must not matter, nor may a read-only home.
export DIT_CACHE="${DIT_CACHE:-${TMPDIR:-/tmp}/dit-kernels}" DOTNET_BUNDLE_EXTRACT_BASE_DIR="${DOTNET_BUNDLE_EXTRACT_BASE_DIR:-${TMPDIR:-/tmp}/dit-bundle}"
if command -v nvidia-smi >/dev/null 2>&1; then
    DIT_DRIVER="${DIT_DRIVER:-$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1 || true)}"
    export DIT_DRIVER
fi

# The libraries are looked for by name in the usual places; where they came with Python packages, their folders are no usual place.
if [[ -z "${DIT_CUDA_PATH:-}" ]] && ! ldconfig -p 2>/dev/null | grep -q libnvrtc.so && ! compgen -G '/usr/local/cuda/lib64/libnvrtc.so*' >/dev/null; then
    site="$("$python" -c 'import site, sys; print("\n".join(site.getsitepackages() + sys.path))' 2>/dev/null || true)"
    while IFS= read -r folder; do
        [[ -n "$folder" && -d "$folder/nvidia" ]] || continue
        while IFS= read -r library; do
            path="$(dirname "$library")"
            case "$library" in
                */libnvrtc.so*) export DIT_LIBNVRTC="${DIT_LIBNVRTC:-$library}" ;;
                */libcublasLt.so*) export DIT_LIBCUBLASLT="${DIT_LIBCUBLASLT:-$library}" ;;
            esac
            export LD_LIBRARY_PATH="$path${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
        done < <(find "$folder/nvidia" \( -name 'libnvrtc.so.1[0-9]' -o -name 'libcublasLt.so.1[0-9]' \) 2>/dev/null)
    done <<<"$site"
fi

backend="${DIT_BENCH_BACKEND:-cuda}"
"$dit" devices || true

if [[ "$tests" == yes ]]; then
    unpacked="$(mktemp -d)"
    trap 'rm -rf "$unpacked"' EXIT
    tar -C "$unpacked" -xzf "$here/tests.tar.gz"
    DIT_ROOT="${DIT_ROOT:-$PWD}" DIT_TEST_DEVICE="$backend" "$unpacked/DiTRuntime.Tests" --filter TestCategory=Device --results-directory "$unpacked" "${extra[@]}" 2>&1 |
        tee "$out/tests.log" | tail -n 40
    exit "${PIPESTATUS[0]}"
fi

if [[ "$sanitize" == yes ]]; then
    sanitizer="$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)"
    # The kernels are compiled first, so that the sanitizer watches them alone.
    "$dit" bench --backend "$backend" --quick --only check --quiet --out "$out/sanitize" "${extra[@]}"
    status=0
    for tool in memcheck racecheck; do
        echo "== $tool"
        "$sanitizer" --tool "$tool" --error-exitcode 9 --print-limit 20 \
            "$dit" bench --backend "$backend" --quick --only check --quiet --out "$out/sanitize" "${extra[@]}" 2>&1 | tee "$out/$tool.log" | tail -n 25 || status=$?
    done
    exit "$status"
fi

begun=$SECONDS
for one in "${parts[@]}"; do
    "$dit" bench --backend "$backend" --only "$one" --out "$out" "${quick[@]}" "${extra[@]}" >"$out/.text" 2> >(tee -a "$out/run.log" >&2)
    echo "== $one: $((SECONDS - begun)) s since the start" | tee -a "$out/run.log"
done
rm -f "$out/.text"

if [[ "$part" != 1 ]]; then
    # Without PyTorch the engine's own results stand alone.
    if "$python" -c 'import torch' 2>/dev/null; then
        "$python" "$here/peer_torch.py" --out "$out" "${quick[@]}" 2>&1 | tee -a "$out/run.log"
    else
        echo "no PyTorch in $python: no peer" | tee -a "$out/run.log"
    fi
fi

echo "== $((SECONDS - begun)) s"
cat "$out/README.md"

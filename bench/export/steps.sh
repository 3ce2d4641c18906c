#!/usr/bin/env bash
# A guided step of DiT-XL/2 (synthetic weights, 256x256, one image) in the exported C runtime beside the C# CPU backend, turn by turn in one run;
# start-up until the first step begins, of the mapped file; bytes, and the size of the stripped library. The decoder is the small one of the goldens: only steps are timed.
#
#   bench/export/steps.sh [FOLDER] [FORMAT...]    formats: f16 w8a8 w4a8 k256d4; what is in FOLDER already is not made again
#
# Environment: ROUNDS (3), THREADS (all processors), CC.
set -euo pipefail
root="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)"
folder="${1:-$(mktemp -d)}"
[[ $# -eq 0 ]] || shift
formats=("$@")
[[ $# -gt 0 ]] || formats=(f16 w8a8 w4a8 k256d4)
rounds="${ROUNDS:-3}" threads="${THREADS:-$(nproc)}"
dit="${DIT:-$root/dit}"
mkdir -p "$folder"

model() { # format
    local file="$folder/$1.safetensors"
    [[ -e "$folder/f16.safetensors" ]] || "$dit" synthesize --model DiT-XL/2 --dtype f16 -o "$folder/f16.safetensors" >/dev/null
    [[ -e "$file" ]] || case "$1" in
        w8a8) "$dit" quantize --backend cpu --model "$folder/f16.safetensors" --method rtn --wbits 8 --quiet -o "$file" >/dev/null ;;
        w4a8) "$dit" quantize --backend cpu --model "$folder/f16.safetensors" --method rtn --wbits 4 --quiet -o "$file" >/dev/null ;;
        k256d4) "$dit" quantize --backend cpu --model "$folder/f16.safetensors" --method kmeans --wbits 2 --quiet -o "$file" >/dev/null ;;
    esac
    if [[ ! -e "$folder/$1" ]]; then
        "$dit" export --model "$file" --vae "$root/tests/goldens/vae" --target c --steps 2 --batch 1 --threads "$threads" --quiet --out "$folder/$1" >/dev/null
    fi
    [[ -x "$folder/$1/build/dit" ]] || {
        cmake -S "$folder/$1" -B "$folder/$1/build" -DCMAKE_BUILD_TYPE=Release >/dev/null
        cmake --build "$folder/$1/build" >/dev/null
    }
}

sampling() { # format, steps: seconds that the C# backend samples for
    "$dit" generate --backend cpu --threads "$threads" --model "$folder/$1.safetensors" --class-labels 207 --steps "$2" --spacing linspace --batch 1 --latents-only --json --quiet \
        --out "$folder/latents.safetensors" | sed -n 's/^ *"sampling": \([0-9.]*\).*/\1/p'
}

median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

echo "| format | weights.dit | C# step, ms | C step, ms | C# / C | start until the first step, ms |"
echo "|---|---:|---:|---:|---:|---:|"
for format in "${formats[@]}"; do
    model "$format"
    managed="" native="" first=""
    for _ in $(seq "$rounds"); do
        short="$(sampling "$format" 2)" long="$(sampling "$format" 10)"
        managed+="$(awk -v a="$short" -v b="$long" 'BEGIN { print (b - a) / 8 * 1000 }')"$'\n'
        out="$("$folder/$format/build/dit" bench "$folder/$format" --threads "$threads" --steps 10)"
        native+="$(sed -n 's/^step of .* \([0-9.]*\) ms, median.*/\1/p' <<<"$out")"$'\n'
        first+="$(sed -n 's/^to the end of a step *\([0-9.]*\) ms.*/\1/p' <<<"$out")"$'\n'
    done
    a="$(printf %s "$managed" | median)" b="$(printf %s "$native" | median)" c="$(printf %s "$first" | median)"
    bytes="$(wc -c <"$folder/$format/weights.dit")"
    awk -v f="$format" -v n="$bytes" -v a="$a" -v b="$b" -v c="$c" 'BEGIN { printf "| %s | %.1f MB | %.0f | %.0f | %.2f | %.0f |\n", f, n / 1e6, a, b, a / b, c - b }'
done
library="$(find "$folder/${formats[0]}/build" -name 'libdit*.so*' -type f -o -name 'libdit*.a' -type f | head -1)"
if [[ -n "$library" ]]; then
    strip --strip-unneeded -o "$folder/stripped" "$library"
    echo "$(basename "$library"), stripped: $(wc -c <"$folder/stripped") bytes"
fi

#!/usr/bin/env bash
# Codebook weights on the built-in digit model: every method at 3, 2 and about 1 bit beside rounding and GPTQ in groups, the same 200 digits
# drawn with each; VQ4DiT with 1 to 4 candidates and from both starts. Prints the table of docs/quality.md. About half an hour on two cores; what is in FOLDER already
# is not made again.
#
#   bench/digits-codebooks.sh [FOLDER] [dit eval flags: docs/quality.md has --steps 25]
set -euo pipefail
root="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)"
folder="${1:-$(mktemp -d)}"
[[ $# -eq 0 ]] || shift
mkdir -p "$folder"
dit="${DIT:-$root/dit}"
reference="$root/src/DiTRuntime.Cli/models/digits.safetensors"

pack() { # name, dit quantize flags
    local file="$folder/$1.safetensors"
    [[ -e "$file" ]] || "$dit" quantize --backend cpu --model "$reference" --quiet -o "$file" "${@:2}" >/dev/null
    models+=("$file")
}

models=("$reference")
pack rtn-w3-g96 --method rtn --wbits 3 --abits 16 --group-size 96
pack gptq-w3-g96 --method gptq --wbits 3 --abits 16 --group-size 96
pack kmeans-k64-d2 --method kmeans --wbits 3
pack gptvq-k64-d2 --method gptvq --wbits 3
pack vq4dit-k64-d2 --method vq4dit --wbits 3 --init kmeans
pack vq4dit-gptvq-k64-d2 --method vq4dit --wbits 3
pack rtn-w2-g96 --method rtn --wbits 2 --abits 16 --group-size 96
pack gptq-w2-g96 --method gptq --wbits 2 --abits 16 --group-size 96
pack kmeans-k256-d4 --method kmeans --wbits 2
pack kmeans-k256-d4-rows --method kmeans --wbits 2 --row-scales on
pack gptvq-k256-d4 --method gptvq --wbits 2
pack gptvq-k256-d4-rows --method gptvq --wbits 2 --row-scales on
pack vq4dit-k256-d4-n1 --method vq4dit --wbits 2 --init kmeans --candidates 1
pack vq4dit-k256-d4-n2 --method vq4dit --wbits 2 --init kmeans
pack vq4dit-k256-d4-n3 --method vq4dit --wbits 2 --init kmeans --candidates 3
pack vq4dit-k256-d4-n4 --method vq4dit --wbits 2 --init kmeans --candidates 4
pack vq4dit-gptvq-k256-d4 --method vq4dit --wbits 2
pack dpq-k16-d4-rows --method dpq --k 16 --d 4 --row-scales on --iterations 1
pack dpq-k32-d4-rows --method dpq --layout codebook --k 32 --d 4 --row-scales on --iterations 1
exec "$dit" eval --backend cpu --digits "${models[@]}" "$@"

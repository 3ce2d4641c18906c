#!/usr/bin/env bash
# Quality of the built-in digit model at every format: packs it, draws the same 200 digits with each, and prints the table of
# docs/quality.md. About ten minutes on two cores.
#
#   bench/digits-quality.sh [FOLDER] [dit eval flags]
set -euo pipefail
root="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)"
folder="${1:-$(mktemp -d)}"
[[ $# -eq 0 ]] || shift
mkdir -p "$folder"
reference="$root/src/DiTRuntime.Cli/models/digits.safetensors"

pack() { # name, dit quantize flags
    local file="$folder/$1.safetensors"
    [[ -e "$file" ]] || "$root/dit" quantize --model "$reference" --quiet -o "$file" "${@:2}" >/dev/null
    models+=("$file")
}

models=("$reference")
pack w8a8-g96 --method rtn --wbits 8 --abits 8 --group-size 96
pack w6a8-g96-gptq --method gptq --wbits 6 --abits 8 --group-size 96
pack w6a8-g96-rtn --method rtn --wbits 6 --abits 8 --group-size 96
pack w4a16-g96-gptq --method gptq --wbits 4 --abits 16 --group-size 96
pack w4a16-g96-rtn --method rtn --wbits 4 --abits 16 --group-size 96
pack w4a16-row-rtn --method rtn --wbits 4 --abits 16 --group-size 0
pack w4a8-g96-gptq --method gptq --wbits 4 --abits 8 --group-size 96
pack w4a8-g96-rtn --method rtn --wbits 4 --abits 8 --group-size 96
pack w4a8-g96-static-rtn --method rtn --wbits 4 --abits 8 --group-size 96 --activations static
pack w4a8-row-rtn --method rtn --wbits 4 --abits 8 --group-size 0
pack w4a8-row-static-rtn --method rtn --wbits 4 --abits 8 --group-size 0 --activations static
pack w3a8-g96-gptq --method gptq --wbits 3 --abits 8 --group-size 96
pack w3a8-g96-rtn --method rtn --wbits 3 --abits 8 --group-size 96
pack w2a8-g96-gptq --method gptq --wbits 2 --abits 8 --group-size 96
pack w2a8-g96-rtn --method rtn --wbits 2 --abits 8 --group-size 96
exec "$root/dit" eval --digits "${models[@]}" "$@"

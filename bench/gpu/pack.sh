#!/usr/bin/env bash
# Packs `dit` as one self-contained file (linux-x64: no .NET needed there) with the scripts of this folder, for a GPU machine without a network.
#
#   bench/gpu/pack.sh [FOLDER]        FOLDER: .build/gpu-pack when absent; replaced if it is an earlier pack
set -euo pipefail

root="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)"
pack="${1:-$root/.build/gpu-pack}"
limit_mib=60

if [[ -e "$pack" && ! -e "$pack/COMMIT" ]]; then
    echo "pack.sh: $pack is there and is no pack; remove it or name another folder" >&2
    exit 2
fi

rm -rf "$pack"
mkdir -p "$pack"
# Not trimmed: options are read and JSON is written by reflection, which trimming warns of.
dotnet publish "$root/src/DiTRuntime.Cli/DiTRuntime.Cli.csproj" -c Release -r linux-x64 --self-contained true -v quiet --nologo -o "$pack" \
    -p:PublishSingleFile=true -p:EnableCompressionInSingleFile=true -p:IncludeNativeLibrariesForSelfExtract=true \
    -p:InvariantGlobalization=true -p:DebugType=none -p:GenerateDocumentationFile=false
rm -f "$pack"/*.pdb "$pack"/*.xml
cp "$root"/bench/gpu/run.sh "$root"/bench/gpu/peer_torch.py "$pack"/
{ git -C "$root" describe --always --dirty --abbrev=12 2>/dev/null || echo unknown; } >"$pack/COMMIT"

"$pack/dit" --help >/dev/null
kib="$(du -sk "$pack" | cut -f1)"
echo "$pack: $((kib / 1024)).$((kib % 1024 * 10 / 1024)) MiB, commit $(cat "$pack/COMMIT")"
if ((kib > limit_mib * 1024)); then
    echo "pack.sh: more than $limit_mib MiB, which is what travels to a GPU machine" >&2
    exit 1
fi

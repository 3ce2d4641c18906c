#!/usr/bin/env bash
# Packs `dit` as one self-contained file (linux-x64: no .NET needed there) with the scripts of this folder, for a GPU machine without a network.
#
#   bench/gpu/pack.sh [--lean] [--tests] [FOLDER]
#
#   --lean     without the built-in digit model, which the benchmark does not need
#   --tests    with the tests of kernels and engine, to be run on the GPU; their goldens come from the checkout that lies there
#   FOLDER     .build/gpu-pack when absent; replaced if it is an earlier pack
set -euo pipefail

root="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)"
lean=no tests=no
while [[ "${1:-}" == --* ]]; do
    case "$1" in
        --lean) lean=yes ;;
        --tests) tests=yes ;;
        *) echo "pack.sh: unknown flag $1" >&2; exit 2 ;;
    esac
    shift
done
pack="${1:-$root/.build/gpu-pack}"
limit_mib=60

if [[ -e "$pack" && ! -e "$pack/COMMIT" ]]; then
    echo "pack.sh: $pack is there and is no pack; remove it or name another folder" >&2
    exit 2
fi

rm -rf "$pack"
mkdir -p "$pack"
{ git -C "$root" describe --always --dirty --abbrev=12 2>/dev/null || echo unknown; } >"$pack/COMMIT"
# Only the platform's own assemblies are trimmed. The analysis warns of reflection in ours, which are kept whole.
publish() { # project, folder, more
    dotnet publish "$1" -c Release -r linux-x64 --self-contained true -v quiet --nologo -o "$2" --artifacts-path "$root/.build/gpu-pack-build" \
        -p:InvariantGlobalization=true -p:DebugType=none -p:PublishTrimmed=true -p:TrimMode=partial -p:EnableTrimAnalyzer=false \
        -p:SuppressTrimAnalysisWarnings=true -p:JsonSerializerIsReflectionEnabledByDefault=true "${@:3}"
}
publish "$root/src/DiTRuntime.Cli/DiTRuntime.Cli.csproj" "$pack" -p:PublishSingleFile=true -p:EnableCompressionInSingleFile=true -p:IncludeNativeLibrariesForSelfExtract=true
rm -f "$pack"/*.pdb "$pack"/*.xml
cp "$root"/bench/gpu/run.sh "$root"/bench/gpu/peer_torch.py "$pack"/

[[ "$lean" == no ]] || rm -r "$pack/models"
if [[ "$tests" == yes ]]; then
    # The test runner asks where its assemblies lie, so they stay files; packed, they are a third of their size.
    folder="$(mktemp -d)"
    trap 'rm -rf "$folder"' EXIT
    publish "$root/tests/DiTRuntime.Tests/DiTRuntime.Tests.csproj" "$folder" -p:RunsAlone=true
    rm -rf "$folder"/{Microsoft.CodeCoverage,models} "$folder"/*.pdb "$folder"/*.xml
    tar -C "$folder" -czf "$pack/tests.tar.gz" .
fi
"$pack/dit" --help >/dev/null
kib="$(du -sk "$pack" | cut -f1)"
echo "$pack: $((kib / 1024)).$((kib % 1024 * 10 / 1024)) MiB, commit $(cat "$pack/COMMIT")"
if ((kib > limit_mib * 1024)); then
    echo "pack.sh: more than $limit_mib MiB, which is what travels to a GPU machine" >&2
    exit 1
fi

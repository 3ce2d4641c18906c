#!/usr/bin/env bash
# Fetches the CUDA run-time compiler for machines without CUDA: libnvrtc 12.4 into DIR/lib and, with --sass, nvdisasm and cuobjdump into
# DIR/bin. Neither needs a GPU, and nothing is installed: the packages of Debian 13 (non-free) are unpacked, on any Debian or descendant that
# apt knows a Debian mirror for. A folder that holds everything is left alone.
#
#   tools/fetch-nvrtc.sh [--sass] [DIR]        DIR is .build/nvrtc of this checkout unless given
set -euo pipefail

fail() { echo "fetch-nvrtc: $1" >&2; exit 1; }

root="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)"
target="$root/.build/nvrtc"
wanted=(libnvrtc12 libnvrtc-builtins12.4)
for word in "$@"; do
    case "$word" in
        --sass) wanted+=(nvidia-cuda-toolkit) ;;
        -*) fail "unknown flag $word; usage: fetch-nvrtc.sh [--sass] [DIR]" ;;
        *) target="$word" ;;
    esac
done

# What an earlier run has unpacked left a mark; it is set last, so a run that broke off is done again.
marks="$target/.packages"
absent=()
for package in "${wanted[@]}"; do [[ -e "$marks/$package" ]] || absent+=("$package"); done
[[ ${#absent[@]} -gt 0 ]] || exit 0

command -v apt-get >/dev/null && command -v dpkg >/dev/null || fail "needs apt-get and dpkg; elsewhere install NVRTC 11.8 to 13 and set DIT_CUDA_PATH"
[[ "$(dpkg --print-architecture)" =~ ^(amd64|arm64)$ ]] || fail "the packages exist for amd64 and arm64"

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch"/{state/partial,cache/archives/partial,packages,files}

mirror() { apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' 'Created-By: Packages' | sort -u | sed -n 1p; }
url="$(mirror)"
if [[ -z "$url" ]]; then
    # A fresh container has no package lists yet, hence no known origins.
    apt-get update -qq >/dev/null || fail "apt cannot read its package lists"
    url="$(mirror)"
fi
[[ -n "$url" ]] || fail "apt knows no Debian mirror here"

# A list, a state and a cache of our own: what the system has installed and pinned stays out of it.
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keyring] $url trixie non-free" >"$scratch/debian.list"
own=(-o "Dir::Etc::SourceList=$scratch/debian.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$scratch/state"
    -o "Dir::Cache=$scratch/cache" -o APT::Sandbox::User=root -o Acquire::http::Timeout=20 -o Acquire::Retries=2)
apt-get "${own[@]}" update -qq || fail "the package list of trixie cannot be read"
(cd "$scratch/packages" && apt-get "${own[@]}" download -qq "${absent[@]}") || fail "cannot download ${absent[*]}"
for package in "$scratch"/packages/*.deb; do dpkg --extract "$package" "$scratch/files"; done

mkdir -p "$target"/{lib,bin} "$marks"
find "$scratch/files" -name 'libnvrtc*.so*' -exec cp --archive --force {} "$target/lib/" \;
find "$scratch/files" -type f \( -name nvdisasm -o -name cuobjdump \) -exec cp --force {} "$target/bin/" \;
for package in "${absent[@]}"; do : >"$marks/$package"; done

#!/usr/bin/env bash
# Installs what builds and tests the C and C++ here, on Debian and its descendants: CMake, gcc, clang, pkg-config, and for 64-bit ARM the cross
# compiler and QEMU's user mode. Needs root and apt; elsewhere it says what is absent. What is already there is left alone.
#
#   tools/fetch-c-tools.sh [--no-cross]
set -euo pipefail

fail() { echo "fetch-c-tools: $1" >&2; exit 1; }

cross=true
for word in "$@"; do
    case "$word" in
        --no-cross) cross=false ;;
        *) fail "unknown flag $word; usage: fetch-c-tools.sh [--no-cross]" ;;
    esac
done

absent=() missing=()
need() {
    if ! command -v "$1" >/dev/null 2>&1; then missing+=("$1"); absent+=("${@:2}"); fi
}
need cmake cmake
need make make
need gcc gcc libc6-dev
need g++ g++
need clang clang
need pkg-config pkg-config
if $cross; then
    need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    need qemu-aarch64 qemu-user
fi
[[ ${#absent[@]} -gt 0 ]] || exit 0

command -v apt-get >/dev/null 2>&1 || fail "absent here: ${missing[*]}; there is no apt-get to install ${absent[*]} with"
[[ "$(id -u)" -eq 0 ]] || fail "absent here: ${missing[*]}; as root: apt-get install ${absent[*]}"

log="$(mktemp)"
trap 'rm -f "$log"' EXIT
install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${absent[@]}" >"$log" 2>&1; }
# A fresh container has no package lists yet, and old ones may name packages that are gone.
if ! install && ! { apt-get update -qq >"$log" 2>&1 && install; }; then
    fail "apt-get cannot install ${absent[*]}: $(grep -m 1 '^E:' "$log" || tail -n 1 "$log")"
fi

#!/usr/bin/env bash
# Installs what builds and tests the C and C++ here, on Debian and its descendants: CMake, gcc, clang, pkg-config, and for 64-bit ARM the cross
# compiler and QEMU's user mode. Needs root and apt; elsewhere it says what is absent. What is already there is left alone.
#
#   tools/fetch-c-tools.sh [--no-cross]
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

cross=true
for word in "$@"; do
    case "$word" in
        --no-cross) cross=false ;;
        *) fail "unknown flag $word; usage: fetch-c-tools.sh [--no-cross]" ;;
    esac
done

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
install_absent

#!/usr/bin/env bash
# Installs kubectl, with which tests render the manifests of deploy/kubernetes, from an apt source that has it. Needs root and apt; elsewhere it says what is absent.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

need kubectl kubectl
install_absent

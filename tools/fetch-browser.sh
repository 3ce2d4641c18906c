#!/usr/bin/env bash
# Installs the browser that tests the page of the service, headless: Debian's Chromium. Needs root and apt; elsewhere it says what is absent.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

need chromium chromium fonts-dejavu-core
install_absent

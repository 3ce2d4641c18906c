# Sourced by the scripts beside it that install Debian packages: `need` notes what is absent, `install_absent` installs it.
# Needs root and apt; elsewhere it says what is absent. What is already there is left alone.

script="$(basename "$0" .sh)"
fail() { echo "$script: $1" >&2; exit 1; }

absent=() missing=()
# need PROGRAM PACKAGE...: the packages are wanted where the program is not on the PATH.
need() {
    if ! command -v "$1" >/dev/null 2>&1; then missing+=("$1"); absent+=("${@:2}"); fi
}

install_absent() {
    [[ ${#absent[@]} -gt 0 ]] || return 0
    command -v apt-get >/dev/null 2>&1 || fail "absent here: ${missing[*]}; there is no apt-get to install ${absent[*]} with"
    [[ "$(id -u)" -eq 0 ]] || fail "absent here: ${missing[*]}; as root: apt-get install ${absent[*]}"

    log="$(mktemp)"
    trap 'rm -f "$log"' EXIT
    # A fresh container has no package lists yet, and old ones may name packages that are gone.
    if ! try_install && ! { apt-get update -qq >"$log" 2>&1 && try_install; }; then
        fail "apt-get cannot install ${absent[*]}: $(grep -m 1 '^E:' "$log" || tail -n 1 "$log")"
    fi
}

try_install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${absent[@]}" >"$log" 2>&1; }

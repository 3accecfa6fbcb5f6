#!/bin/sh
# Have some Debian packages: as root install what is missing, otherwise name the command to type, and fail.
# Arguments: PACKAGE, or PACKAGE=PROGRAM where that program is as good as the package, wherever it comes from.
set -eu
PATH="$PATH:/usr/sbin:/sbin$(printf ':%s' /usr/lib/postgresql/*/bin)"

is_there() {
    package=${1%%=*} program=${1#*=}
    [ "$program" != "$1" ] && command -v "$program" >/dev/null && return
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" = installed ]
}

install_all() {
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@" >"$log" 2>&1 </dev/null
}

missing=
for wanted in "$@"; do
    is_there "$wanted" || missing="$missing ${wanted%%=*}"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "These programs are missing, and this is not Debian; install what provides them: $*" >&2
    exit 1
elif [ "$(id -u)" != 0 ]; then
    printf 'Debian packages are missing. Type this, then try again:\n\n    sudo apt-get install%s\n\n' "$missing" >&2
    exit 1
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "Installing Debian packages:$missing" >&2
# The package lists of a fresh machine are empty, and those of an old one name versions that are gone.
# shellcheck disable=SC2086
install_all $missing || { apt-get update >/dev/null 2>&1 && install_all $missing; } || {
    tail -n 20 "$log" >&2
    echo "Debian packages could not be installed:$missing. See above; check the sources of apt." >&2
    exit 1
}

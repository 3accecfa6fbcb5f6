#!/bin/sh
# Make .venv, with bin/slapos, from pyproject.toml and the exact versions of constraints.txt.
# With the argument "test", also what the tests need. Where libvirt can be compiled against, also what runs virtual machines.
set -eu
cd "$(dirname "$0")/.."
umask 022  # services run as other users, who must be able to read all of this
unset PYTHONPATH PYTHONHOME

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
can_make_venv() { is_new_enough "$1" && "$1" -c 'import venv; from ensurepip import version' 2>/dev/null; }

# The system's own Python comes first: every user can read it, unlike one in somebody's home.
find_python() {
    for python in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do
        can_make_venv "$python" && command -v "$python" && return
    done
    return 1
}

python_or_explain() {
    if [ "$(id -u)" = 0 ] && ! can_make_venv /usr/bin/python3; then
        sh scripts/packages.sh python3-venv || :
    fi
    find_python && return
    echo "Python 3.11 or newer with its venv module is needed; on Debian 12 that is: sudo apt-get install python3-venv" >&2
    return 1
}

can_compile() {
    command -v cc >/dev/null && pkg-config --exists libvirt 2>/dev/null &&
        "$1" -c 'import os, sysconfig as s, sys; sys.exit(not os.path.exists(s.get_path("include") + "/Python.h"))'
}

install() { .venv/bin/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt "$@"; }

# A virtual environment that was moved, or left half made, is made again.
if ! { .venv/bin/python -c '' 2>/dev/null && grep -qsF "$PWD/.venv/bin/" .venv/bin/pip; }; then
    python=$(python_or_explain)
    echo "Making .venv with $python ($("$python" --version))." >&2
    rm -rf .venv
    "$python" -m venv .venv
fi

extras=$(can_compile .venv/bin/python && echo kvm || :)
extras=${1:-}${1:+${extras:+,}}$extras

echo "Installing ${1:+$1 }packages into .venv; the first time takes a minute." >&2
install pip setuptools wheel
install --no-build-isolation --editable ".${extras:+[$extras]}"
# Partitions run it as users who cannot write here: their commands would compile it at each start.
.venv/bin/python -m compileall -q slap

#!/bin/sh
# Make the virtual environment $1 with the interpreter $2, or with the first fitting one found.
# An environment that works is kept.
set -eu
venv=$1
wanted=${2:-}

fits() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

fail() {
    printf 'error: %s\n' "$@" >&2
    exit 1
}

if [ -x "$venv/bin/python" ] && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    fits "$venv/bin/python" || fail "$venv holds a Python older than 3.11. Run: make clean"
    exit 0
fi

python=
for candidate in ${wanted:-python3 python3.13 python3.12 python3.11 python}; do
    if fits "$candidate"; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fail "no Python 3.11 or newer among: ${wanted:-python3 python3.13 python3.12 python3.11 python}." \
    "Install one, or name it: make setup PYTHON=/path/to/python3.12"

"$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
    fail "$python cannot make virtual environments. On Debian or Ubuntu: sudo apt install python3-venv"

echo "making $venv with $("$python" --version) ..."
"$python" -m venv --clear "$venv"

#!/bin/sh
# Run the tests in an environment of their own: sh tools/test-with.sh FOLDER PYTHON lowest|pinned
# `lowest`: the lowest versions that pyproject.toml admits; `pinned`: those of constraints.txt.
set -eu
folder=$1 python=$2 versions=$3

if [ ! -x "$folder/bin/clser-bench" ]; then
    "$python" -m venv --clear "$folder"
    pins=constraints.txt
    if [ "$versions" = lowest ]; then
        "$folder/bin/python" tools/lowest.py >"$folder/lowest.txt"
        pins=$folder/lowest.txt
    fi
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
        --constraint "$pins" --editable '.[demo,opensmile,video]' pytest pytest-xdist beartype hypothesis skada
fi
"$folder/bin/python" -m pip list --disable-pip-version-check | grep -iE '^(numpy|pandas|ray|scikit-learn|scipy|torch|transformers) '
ignore=
# Old packages warn of what has changed since in those that they need; an old jaxtyping checks no
# shapes in tests whose conftest.py imports the package.
[ "$versions" = lowest ] && ignore="-W ignore::DeprecationWarning -W ignore::FutureWarning
    -o addopts=--import-mode=importlib"
# shellcheck disable=SC2086 (several words)
exec "$folder/bin/python" -m pytest -n "${WORKERS:-2}" --dist loadfile -m "not slow" $ignore ${PYTEST_ARGS:-}
